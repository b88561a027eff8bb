# A byte now and then, so that no single read ever waits long.
. "${0%/*}/canned.sh"
misbehave() { while :; do printf '{'; sleep 0.02 || sleep 1; done; }
serve
