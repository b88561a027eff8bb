# Prints its log where answers belong.
. "${0%/*}/canned.sh"
misbehave() { echo 'loading tensors: 100%'; }
serve
