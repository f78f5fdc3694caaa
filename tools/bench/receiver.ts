import { once } from 'node:events';
import net from 'node:net';

/** Answers one request with a JSON body, now or later. */
export type Answerer = (path: string, body: string) => string | Promise<string>;

/**
 * A partner that costs next to nothing: HTTP/1.1 over a plain socket, keep-alive, bodies by Content-Length, 200 with
 * JSON. A receiver on node:http takes as much of the two cores as the client that is measured.
 */
export async function withReceiver<T>(answer: Answerer, work: (url: string) => Promise<T>): Promise<T> {
  const sockets = new Set<net.Socket>();
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay(true);
    let received: Buffer = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      for (;;) {
        const end = received.indexOf('\r\n\r\n');
        if (end < 0) return;
        const head = received.toString('latin1', 0, end);
        const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
        if (received.length < end + 4 + length) return;
        const body = received.toString('utf8', end + 4, end + 4 + length);
        received = received.subarray(end + 4 + length);
        const reply = answer(head.slice(head.indexOf(' ') + 1, head.indexOf(' HTTP')), body);
        if (typeof reply === 'string') write(socket, reply);
        else void reply.then((text) => write(socket, text));
      }
    });
    // The hub under test stops while connections are open; that is no fault of the receiver.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  try {
    return await work(`http://127.0.0.1:${(server.address() as net.AddressInfo).port}`);
  } finally {
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}

function write(socket: net.Socket, body: string): void {
  socket.write(
    `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}
