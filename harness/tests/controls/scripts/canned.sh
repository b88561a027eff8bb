# Reads requests and answers hello and load as a runtime of llama-tiny would; whatever else is asked goes to the function `misbehave`,
# with the request in $request, its id in $id and the number of its ids in $n. Sourced by the controls beside it.
serve() {
  while IFS= read -r request; do
    id=${request#*\"id\":}; id=${id%%,*}
    case $request in
      *'"op":"hello"'*)
        printf '{"id":%s,"runtime":"control","version":"1","formats":["safetensors"],"ops":["logits"]}\n' "$id" ;;
      *'"op":"load"'*)
        printf '{"id":%s,"ok":true,"metadata":{"vocab_size":768}}\n' "$id" ;;
      *)
        ids=${request#*\"ids\":\[}; ids=${ids%%]*}
        commas=$(printf '%s' "$ids" | tr -dc ,)
        n=$((${#commas} + 1))
        misbehave ;;
    esac
  done
}
# $1 times the base64 of 768 floats, each group of three written as $2.
rows() {
  awk -v n="$1" -v three="$2" 'BEGIN { for (i = 0; i < n * 256; i++) printf "%s", three }'
}
