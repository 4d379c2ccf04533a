import type { WebSocket } from '@fastify/websocket'

/**
 * Asks a peer for a sign of life at a fixed pace and cuts the connection where none came in between.
 * @returns to be called for other signs of life: what was sent has been taken
 */
export function keepAlive(socket: WebSocket, everyMs: number): () => void {
  let alive = true
  const sign = () => {
    alive = true
  }
  const timer = setInterval(() => {
    if (!alive) return socket.terminate()
    alive = false
    socket.ping()
  }, everyMs)
  timer.unref()
  socket.on('pong', sign)
  socket.once('close', () => clearInterval(timer))
  return sign
}
