# Sends the request back.
. "${0%/*}/canned.sh"
misbehave() { printf '%s\n' "$request"; }
serve
