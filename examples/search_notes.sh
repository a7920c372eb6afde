#!/bin/sh
# Index the sample notes and search them, in a home that is deleted at the end.
set -eu
cd "$(dirname "$0")"
JLOCAL_HOME=$(mktemp -d)
export JLOCAL_HOME
trap 'rm -r "$JLOCAL_HOME"' EXIT

jlocal index notes -m starter
jlocal search what did we decide about backups --files -n 1
jlocal search when do I sow tomatoes --files -n 1
echo "How many documents: $(jlocal status --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["documents"])')"
