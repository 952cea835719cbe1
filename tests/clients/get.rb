# Sends the JSON of standard input with Net::HTTP: get.rb SERVER TOKEN KIND
require "base64"
require "net/http"

server, token, kind = ARGV
uri = URI("#{server}/v1/#{kind}/track")
uri.query = URI.encode_www_form(api_token: token, data: Base64.encode64($stdin.read))
answer = Net::HTTP.get_response(uri)
answer.value
puts answer.body
