# Posts the JSON of standard input: post.sh SERVER TOKEN KIND WAY
case $4 in
form) # curl escapes what it is given.
  base64 | curl -sS --fail-with-body "$1/v1/$3/track" --data-urlencode "api_token=$2" --data-urlencode data@- ;;
json)
  curl -sS --fail-with-body "$1/v1/$3/track?api_token=$2" -H "Content-Type: application/json" --data-binary @- ;;
gzip)
  gzip -c | curl -sS --fail-with-body "$1/v1/$3/track?api_token=$2" -H "Content-Type: application/json" \
    -H "Content-Encoding: gzip" --data-binary @- ;;
wget-form) # wget escapes nothing.
  wget -qO- --post-data="data=$(base64 --wrap=0)" "$1/v1/$3/track?api_token=$2" ;;
wget-json)
  cat >"$5"
  wget -qO- --header="Content-Type: application/json" --post-file="$5" "$1/v1/$3/track?api_token=$2" ;;
esac
