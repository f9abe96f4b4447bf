// Talks to `cargo run --example hello`. Open hello.html from disk.

const socket = new WebSocket('ws://127.0.0.1:1234');

function log(text) {
  const line = document.createElement('li');
  line.textContent = text;
  document.getElementById('log').append(line);
}

socket.onopen = () => socket.send('Hello server!');
socket.onmessage = ({ data }) => log(`Server: ${data}`);
socket.onerror = () => log('There is no server on port 1234.');
socket.onclose = () => log('Closed.');
