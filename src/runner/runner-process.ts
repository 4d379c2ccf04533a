import { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import type { Notice } from '../domain/records.ts'
import { messageOf } from '../lib/message-of.ts'
import { closeInherited } from './close-inherited.ts'
import { GuardedFiles } from './isolation/guarded-files.ts'
import { OwnUserProjects } from './isolation/own-user.ts'
import { notIsolated, SandboxError } from './isolation/sandbox.ts'
import type { Connection } from './network/connection.ts'
import { Doors } from './network/doors.ts'
import { openWholeNetwork } from './network/whole-network.ts'
import { runProcess } from './process.ts'
import {
  type CallEnd,
  FRAME,
  type Frame,
  FrameReader,
  type FrameType,
  frame,
  frameHeader,
  type StartRequest,
  type StopCause,
  WINDOW_BYTES,
} from './protocol.ts'

/**
 * The runner: a process of its own that starts all commands, so that the server forks for none. It has no secrets: its
 * environment is empty, and it reads no settings. It ends with its pipe, and its commands with it.
 */
closeInherited()
const server = new Socket({ fd: 3, readable: true, writable: true })
const calls = new Map<number, Call>()
const doors = new Doors()
const ownUserProjects = new OwnUserProjects()

/** A stream of a command to the server. */
class Outlet {
  readonly #type: FrameType
  readonly #call: number
  #room = WINDOW_BYTES
  #source: Readable | null = null

  constructor(type: FrameType, call: number) {
    this.#type = type
    this.#call = call
  }

  connect(source: Readable): void {
    this.#source = source
    source.on('data', (chunk: Buffer) => {
      server.cork()
      server.write(frameHeader(this.#type, this.#call, chunk.length))
      server.write(chunk)
      server.uncork()
      this.#room -= chunk.length
      if (this.#room <= 0) source.pause()
    })
  }

  widen(bytes: number): void {
    this.#room += bytes
    if (this.#room > 0) this.#source?.resume()
  }
}

class Call {
  readonly #outlets: Readonly<Record<number, Outlet>>
  readonly #stopped = Promise.withResolvers<StopCause>()

  constructor(id: number) {
    this.#outlets = {
      [FRAME.stdout]: new Outlet(FRAME.stdout, id),
      [FRAME.stderr]: new Outlet(FRAME.stderr, id),
    }
  }

  run(request: StartRequest): Promise<CallEnd> {
    return runProcess(request, {
      stopped: this.#stopped.promise,
      onStarted: ({ stdout, stderr }) => {
        this.#outlets[FRAME.stdout]?.connect(stdout)
        this.#outlets[FRAME.stderr]?.connect(stderr)
      },
      onDead: () => {
        for (const outlet of Object.values(this.#outlets)) outlet.widen(Number.MAX_SAFE_INTEGER)
      },
    })
  }

  stop(cause: StopCause): void {
    this.#stopped.resolve(cause)
  }

  widen(stream: number, bytes: number): void {
    this.#outlets[stream]?.widen(bytes)
  }
}

function take({ type, call: id, payload }: Frame): void {
  switch (type) {
    case FRAME.start:
      void start(id, JSON.parse(payload.toString()))
      break
    case FRAME.stop:
      calls.get(id)?.stop(payload.toString() as StopCause)
      break
    case FRAME.window:
      calls.get(id)?.widen(payload.readUInt8(0), payload.readUInt32BE(1))
      break
  }
}

async function start(id: number, request: StartRequest): Promise<void> {
  const call = new Call(id)
  calls.set(id, call)
  const note = (notice: Notice): void => {
    server.write(frame(FRAME.notice, id, JSON.stringify(notice)))
  }
  const guarded = new GuardedFiles(request.project)
  const end = await withNamespaces(request, note, (prepared) => call.run(prepared)).catch(
    (cause): CallEnd =>
      cause instanceof SandboxError
        ? notIsolated(messageOf(cause))
        : { end: 'not_started', message: messageOf(cause) },
  )
  for (const payload of guarded.changes()) note({ kind: 'guard_changed', payload })
  calls.delete(id)
  server.write(frame(FRAME.end, id, JSON.stringify(end)))
}

/** Runs a command in the namespaces that are made for it outside of its container. */
async function withNamespaces(
  request: StartRequest,
  note: (notice: Notice) => void,
  run: (request: StartRequest) => Promise<CallEnd>,
): Promise<CallEnd> {
  if (request.sandbox?.level !== 'namespaces') return withNetwork(request, note, run)
  return ownUserProjects.with(request.sandbox, (sandbox) =>
    withNetwork({ ...request, sandbox }, note, run),
  )
}

/** Runs a command while it can reach what it may reach. */
async function withNetwork(
  request: StartRequest,
  note: (notice: Notice) => void,
  run: (request: StartRequest) => Promise<CallEnd>,
): Promise<CallEnd> {
  const { sandbox } = request
  if (sandbox === null || sandbox.network === 'none') return run(request)
  const onConnection = (payload: Connection): void => note({ kind: 'network_connection', payload })
  if (sandbox.network === 'full') {
    if (sandbox.networkTools === null)
      throw new SandboxError('the programs for its network are missing')
    const { enter, close } = await openWholeNetwork(
      ...[sandbox.networkTools, sandbox.folder, onConnection],
    )
    const entered = { ...sandbox, enter: [...sandbox.enter, ...enter] }
    return run({ ...request, sandbox: entered }).finally(close)
  }
  const door = await doors.open(sandbox.folder, sandbox.network.allow, onConnection)
  try {
    return await run({ ...request, sandbox: { ...sandbox, proxy: door.path } })
  } finally {
    await door.close()
  }
}

/** The reaper ends what is left. */
const exit = (): never => process.exit()

const reader = new FrameReader()
server.on('data', (chunk: Buffer) => {
  for (const received of reader.read(chunk)) take(received)
})
server.on('error', exit)
server.on('close', exit)
