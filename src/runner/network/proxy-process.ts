import { readdirSync, rmSync } from 'node:fs'
import { Socket } from 'node:net'
import { messageOf } from '../../lib/message-of.ts'
import { closeInherited } from '../helper-process.ts'
import { FRAME, type Frame, FrameReader, frame } from '../protocol.ts'
import type { ProxyRequest } from './command-proxies.ts'
import { CommandProxy } from './proxy.ts'

/**
 * The proxy: a process of its own that connects commands with the hosts that their runs allow. It has no environment, no
 * settings and no keys. It works in a folder of sockets, and ends with the runner.
 */
closeInherited()
// Sockets of an earlier proxy. Their names are relative, because the path of a socket must be short.
for (const name of readdirSync('.')) rmSync(name, { recursive: true, force: true })
const runner = new Socket({ fd: 3, readable: true, writable: true })
const proxies = new Map<number, Promise<CommandProxy>>()

function take({ type, call, payload }: Frame): void {
  if (type === FRAME.start) void open(call, JSON.parse(payload.toString()))
  else if (type === FRAME.stop) void close(call)
}

async function open(call: number, { socket, hosts }: ProxyRequest): Promise<void> {
  const opening = CommandProxy.open(socket, hosts, (connection) => {
    runner.write(frame(FRAME.notice, call, JSON.stringify(connection)))
  })
  proxies.set(call, opening)
  try {
    await opening
    runner.write(frame(FRAME.opened, call, ''))
  } catch (cause) {
    proxies.delete(call)
    runner.write(frame(FRAME.end, call, messageOf(cause)))
  }
}

async function close(call: number): Promise<void> {
  const proxy = await proxies.get(call)
  proxies.delete(call)
  await proxy?.close()
  runner.write(frame(FRAME.end, call, ''))
}

const exit = (): never => process.exit()

const reader = new FrameReader()
runner.on('data', (chunk: Buffer) => {
  for (const received of reader.read(chunk)) take(received)
})
runner.on('error', exit)
runner.on('close', exit)
