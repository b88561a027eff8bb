# Says hello, loads, and reads nothing more.
for answer in '"runtime":"control","version":"1","formats":["safetensors"],"ops":["tokenize"]' '"ok":true'; do
  IFS= read -r request
  id=${request#*\"id\":}
  printf '{"id":%s,%s}\n' "${id%%,*}" "$answer"
done
sleep 600
