# Never answers. Its child would outlive it, were the process alone killed and not its group: $2 takes the child's number.
. "${0%/*}/canned.sh"
children=${2:-/dev/null}
misbehave() { sleep 600 & echo $! >> "$children"; wait; }
serve
