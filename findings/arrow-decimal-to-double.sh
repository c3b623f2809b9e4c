#!/bin/sh
# pyarrow does not round a decimal to the nearest double.
#
# One would guess: a decimal 4.1 cast to float64 is the double 4.1, as its text or Python's float(Decimal("4.1")) is.
# What happens: it is 4.1000000000000005, and 0.3 is 0.30000000000000004. By way of text they are right.
# Whom it hurts: whose prices or ratings come as DECIMAL from a database or as CSV by turns: the same numbers differ in
#   the last bit, so equal data have different checksums, and ties are no ties. Cast to string first, then to float64.
# Versions: pyarrow 25.0.1.
# Source: pyarrow.Array.cast from decimal128 to float64.
#
# It needs python3 and a package index. Exit 0: as described; 1: it has changed.
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT INT TERM
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==25.0.1

cat > "$folder/decimals.py" <<'PY'
import sys
from decimal import Decimal

import pyarrow as pa

print("Python", sys.version.split()[0], "pyarrow", pa.__version__)
texts = [f"{number / 10:.1f}" for number in range(1, 100)]
decimals = pa.array([Decimal(text) for text in texts], pa.decimal128(5, 1))
cast = decimals.cast(pa.float64()).to_pylist()
by_text = decimals.cast(pa.string()).cast(pa.float64()).to_pylist()
right = [float(text) for text in texts]
print("4.1 becomes", cast[40], "and 0.3 becomes", cast[2])
print("by way of text:", by_text == right)
print(sum(one != other for one, other in zip(cast, right)), "of", len(texts), "numbers differ")
PY

"$folder/venv/bin/python" "$folder/decimals.py" | tee "$folder/seen.txt"
grep -q "4.1 becomes 4.1000000000000005 and 0.3 becomes 0.30000000000000004" "$folder/seen.txt" || { echo "Changed."; exit 1; }
grep -q "by way of text: True" "$folder/seen.txt" || { echo "Changed: by way of text."; exit 1; }
echo "As described: the cast does not round to the nearest double."
