# Posts the JSON of standard input with Net::HTTP: post.rb SERVER TOKEN KIND WAY
require "base64"
require "net/http"

server, token, kind, way = ARGV
uri = URI("#{server}/v1/#{kind}/track")
json = $stdin.read
answer =
  case way
  when "form" then Net::HTTP.post_form(uri, "api_token" => token, "data" => Base64.encode64(json))
  when "json"
    Net::HTTP.post(uri, json, "Content-Type" => "application/json", "Authorization" => "Bearer #{token}")
  end
answer.value
puts answer.body
