#!/bin/sh
# pyarrow's rename_columns gives back a table without its schema's metadata.
#
# One would guess: new names are all that changes, as with select, slice, append_column or cast, which keep the
#   metadata.
# What happens: the metadata of the schema is gone, and with it the note by which pandas finds the index: after
#   to_pandas the index is a column, and the rows are numbered.
# Whom it hurts: who renames columns of a table that came from pandas, or keeps facts about the columns in the
#   metadata. Put it back with replace_schema_metadata.
# Versions: pyarrow 25.0.1, pandas 3.0.0.
# Source: pyarrow.Table.rename_columns and pyarrow.RecordBatch.rename_columns.
#
# It needs python3 and a package index. Exit 0: as described; 1: it has changed.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==25.0.1 pandas==3.0.0

cat > "$folder/rename.py" <<'PY'
import sys

import pandas as pd
import pyarrow as pa

print("Python", sys.version.split()[0], "pyarrow", pa.__version__, "pandas", pd.__version__)
prices = pd.DataFrame({"price": [3.5, 4.0]}, index=pd.Index(["a", "b"], name="item"))
table = pa.Table.from_pandas(prices)
print("select keeps:", b"pandas" in (table.select(["price", "item"]).schema.metadata or {}))
renamed = table.rename_columns(["cost", "item"])
print("rename_columns keeps:", b"pandas" in (renamed.schema.metadata or {}))
batch = table.to_batches()[0].rename_columns(["cost", "item"])
print("of a batch:", b"pandas" in (batch.schema.metadata or {}))
print("index before:", list(table.to_pandas().index), "after:", list(renamed.to_pandas().index))
PY

"$folder/venv/bin/python" "$folder/rename.py" | tee "$folder/seen.txt"
for line in "select keeps: True" "rename_columns keeps: False" "of a batch: False" "index before: \['a', 'b'\] after: \[0, 1\]"; do
    grep -q "$line" "$folder/seen.txt" || { echo "Changed: $line"; exit 1; }
done
echo "As described: the metadata is lost with the names."
