import http from 'node:http';

/**
 * Posts as many bodies as it is told over keep-alive connections of node:http: `node bare-client.js <url> <count>
 * <connections>`.
 */
const [url = '', count = '0', connections = '1'] = process.argv.slice(2);
const agent = new http.Agent({ keepAlive: true, maxSockets: Number(connections) });
const body =
  '{"amount":5.00,"currency":"USD","reference":"deliver-0","correlationId":"019a3c7e-5b0a-7cc2-9d55-0f6f3b0f7a11"}';
let next = 0;

function post(): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = http.request(
      `${url}/v2/players/player-1/withdraw`,
      { method: 'POST', agent, headers: { 'Content-Type': 'application/json', 'Content-Length': body.length } },
      (response) => {
        response.resume();
        response.on('end', resolve);
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

async function caller(): Promise<void> {
  while (next < Number(count)) {
    next += 1;
    await post();
  }
}

// No server of its own: the line only tells that it began.
process.stdout.write('1\n');
Promise.all(Array.from({ length: Number(connections) }, caller)).then(
  () => agent.destroy(),
  (error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    process.exit(1);
  },
);
