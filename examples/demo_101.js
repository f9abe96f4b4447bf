// Talks to `cargo run --example demo_101`. That server takes pages of localhost and 127.0.0.1 only, so serve this
// directory with any file server, for example `python3 -m http.server` and http://localhost:8000/demo_101.html.

const socket = new WebSocket('ws://127.0.0.1:1337', 'echo-protocol');
const message = document.getElementById('message');
const send = document.getElementById('send');

function log(text) {
  const line = document.createElement('li');
  line.textContent = text;
  document.getElementById('log').append(line);
}

socket.onopen = () => {
  send.disabled = false;
  log(`Opened with the subprotocol ${socket.protocol || '(none)'}.`);
};
socket.onmessage = ({ data }) => log(`Received: ${data}`);
socket.onerror = () => log('Failed.');
socket.onclose = ({ code, reason }) => {
  send.disabled = true;
  log(`Closed with code ${code}${reason && `: ${reason}`}`);
};

document.getElementById('form').onsubmit = (event) => {
  event.preventDefault();
  socket.send(message.value);
  log(`Sent: ${message.value}`);
  message.value = '';
};
