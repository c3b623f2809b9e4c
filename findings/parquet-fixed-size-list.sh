#!/bin/sh
# pyarrow writes a Parquet column of lists of a fixed size with a missing list, and cannot read its own file.
#
# One would guess: what pq.write_table writes without an error, pq.read_table reads; a missing list is a null.
# What happens: reading raises ArrowInvalid, "Expected all lists to be of size=2 but index 2 had size=0". The
#   same values in lists of variable size are read.
# Whom it hurts: whose catalogue has such a column, for example embeddings or pairs of which some are missing: the
#   file is found to be unreadable only by the one who gets it. Cast the column to list_(...) before writing.
# Versions: pyarrow 25.0.1.
# Source: pyarrow.parquet, write_table and read_table.
#
# It needs python3 and a package index. Exit 0: as described; 1: it has changed.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==25.0.1

cat > "$folder/lists.py" <<'PY'
import sys

import pyarrow as pa
import pyarrow.parquet as pq

path = sys.argv[1]
print("Python", sys.version.split()[0], "pyarrow", pa.__version__)
values = [["a", "b"], None]
pq.write_table(pa.table({"pair": pa.array(values, pa.list_(pa.string()))}), path)
print("variable size:", pq.read_table(path)["pair"].to_pylist())
pq.write_table(pa.table({"pair": pa.array(values, pa.list_(pa.string(), 2))}), path)
try:
    print("fixed size: read", pq.read_table(path)["pair"].to_pylist())
except pa.ArrowInvalid as error:
    print("fixed size: ArrowInvalid:", error)
PY

"$folder/venv/bin/python" "$folder/lists.py" "$folder/lists.parquet" | tee "$folder/seen.txt"
grep -q "variable size: \[\['a', 'b'\], None\]" "$folder/seen.txt" || { echo "Changed: lists of variable size."; exit 1; }
grep -q "fixed size: ArrowInvalid: Expected all lists to be of size=2" "$folder/seen.txt" || { echo "Changed."; exit 1; }
echo "As described: the column of fixed size is written and cannot be read."
