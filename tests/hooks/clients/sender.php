<?php
// Posts the body once in each way, and prints "way status".
[, $hook, $text] = $argv;

foreach (['1.0', '1.1'] as $version) {
    $http = ['method' => 'POST', 'protocol_version' => $version, 'content' => str_replace('WAY', $version, $text)];
    file_get_contents($hook, false, stream_context_create(['http' => $http]));
    echo "$version ", explode(' ', $http_response_header[0])[1], "\n";
}

// A script that says that it has sent all, and then reads.
$address = parse_url($hook);
$body = str_replace('WAY', 'shutdown', $text);
$stream = stream_socket_client("tcp://{$address['host']}:{$address['port']}");
fwrite($stream, "POST {$address['path']} HTTP/1.1\r\nHost: here\r\nContent-Length: " . strlen($body) . "\r\n\r\n$body");
stream_socket_shutdown($stream, STREAM_SHUT_WR);
echo 'shutdown ', explode(' ', fgets($stream))[1], "\n";
