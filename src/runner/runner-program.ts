import { closeSync, existsSync, readdirSync, readFileSync } from 'node:fs'
import { Socket } from 'node:net'
import { setPriority } from 'node:os'
import type { Readable, Writable } from 'node:stream'
import type { Notice } from '../domain/records.ts'
import { MessageReader, messageBytes } from '../lib/messages.ts'
import { watchGuarded } from '../sandbox/guarded-files.ts'
import { Networks, withOwnUser } from '../sandbox/namespaces.ts'
import { openFolder } from '../sandbox/project-folder.ts'
import { NICENESS, sessionGivesWay } from './processes.ts'
import { startReaper } from './program/marked.ts'
import { armCrash, reach } from './program/process.ts'
import { runProcess, whyNotStarted } from './program/run-to-end.ts'
import type { CallEnd, FromRunner, Output, StartRequest, StopCause, ToRunner } from './protocol.ts'

/**
 * The runner: a process of its own that starts all commands, so that the server forks for none. It has no secrets: its
 * environment is empty, and it reads no settings. It ends with its pipe, and its commands with it.
 */
closeInherited()
// On a busy machine, this process and all that it starts use the processor time that the server leaves. Otherwise, many
// commands at once would delay every request.
setPriority(NICENESS)
sessionGivesWay('self')
startReaper()
const server = new Socket({ fd: 3, readable: true, writable: true })
const calls = new Map<number, ServedCall>()
const networks = new Networks()
/** The outputs of commands. None is read while more bytes than these wait for the server. */
const outputs = new Set<Readable>()
const MOST_WAITING = 512 * 1024

function send(message: FromRunner, body?: Buffer): void {
  server.write(messageBytes(message, body))
  if (server.writableLength > MOST_WAITING) for (const output of outputs) output.pause()
}

function take(message: ToRunner, body: Buffer): void {
  if (message.type === 'ping') send({ type: 'pong' })
  else if (message.type === 'crash') armCrash(message.crash)
  else if (message.type === 'start') void start(message.call, message.request)
  else calls.get(message.call)?.take(message, body)
}

async function start(id: number, request: StartRequest): Promise<void> {
  const call = new ServedCall(id)
  calls.set(id, call)
  const note = (notice: Notice): void => send({ type: 'notice', call: id, notice })
  const end = await guarding(request, note, () =>
    call.unlessStopped(withNamespaces(request, note, (prepared) => call.run(prepared))),
  )
  reach('before its end')
  calls.delete(id)
  send({ type: 'end', call: id, end })
}

/** Notes what of the guarded files changes while a command runs. Never rejects. */
async function guarding(
  request: StartRequest,
  note: (notice: Notice) => void,
  run: () => Promise<CallEnd>,
): Promise<CallEnd> {
  const { project, folder } = request
  try {
    using opened =
      folder === undefined || process.platform !== 'linux' ? null : openFolder(project, folder)
    const at = opened === null ? project : `/proc/self/fd/${opened.descriptor}`
    const changes = watchGuarded(at)
    const end = await run().catch((cause) => whyNotStarted(request, cause))
    for (const payload of await changes()) note({ kind: 'guard_changed', payload })
    return end
  } catch (cause) {
    return whyNotStarted(request, cause)
  }
}

/** Runs a command in the namespaces that are made for it outside of its container. */
async function withNamespaces(
  request: StartRequest,
  note: (notice: Notice) => void,
  run: (request: StartRequest) => Promise<CallEnd>,
): Promise<CallEnd> {
  if (request.sandbox?.level !== 'namespaces') return run(request)
  const prepared = await withOwnUser(request.sandbox)
  return networks.with(prepared, request, note, (sandbox, env) => run({ ...request, sandbox, env }))
}

/** Closes what was left open by the process that started the server, except the pipe at 3: commands would inherit it. */
function closeInherited(): void {
  const O_CLOEXEC = 0o2000000
  const folder = '/proc/self/fdinfo'
  if (!existsSync(folder)) return
  for (const descriptor of readdirSync(folder).map(Number)) {
    if (descriptor <= 3) continue
    try {
      const info = readFileSync(`${folder}/${descriptor}`, 'utf8')
      const [, flags = '2000000'] = /^flags:\s+([0-7]+)$/m.exec(info) ?? []
      // Node and libuv mark all of their own.
      if ((Number.parseInt(flags, 8) & O_CLOEXEC) === 0) closeSync(descriptor)
    } catch {
      // It was the one that read the folder.
    }
  }
}

/** The reaper ends what is left. */
const exit = (): never => process.exit()

const reader = new MessageReader()
server.on('data', (chunk: Buffer) => {
  for (const { head, body } of reader.read(chunk)) take(head as ToRunner, body)
})
server.on('drain', () => {
  for (const output of outputs) output.resume()
})
server.on('error', exit)
server.on('close', exit)

/** The runner's end of a command: its streams. */
class ServedCall {
  readonly #id: number
  readonly #stopped = Promise.withResolvers<StopCause>()
  #stop: StopCause | null = null
  #hasBegun = false
  readonly #outputs: Readable[] = []
  /** What is for the input waits until the process is started. */
  readonly #stdin = Promise.withResolvers<Writable | null>()

  constructor(id: number) {
    this.#id = id
  }

  /**
   * Its end. If the server stops it before it runs, that is at once, and it never runs: its mounts and its network may
   * take seconds.
   * @param end what makes these and calls `run`
   */
  unlessStopped(end: Promise<CallEnd>): Promise<CallEnd> {
    const notRun = this.#stopped.promise.then((cause) => (this.#hasBegun ? end : { end: cause }))
    return Promise.race([end, notRun])
  }

  async run(request: StartRequest): Promise<CallEnd> {
    if (this.#stop !== null) return { end: this.#stop }
    this.#hasBegun = true
    reach('before spawn')
    return runProcess(request, {
      stopped: this.#stopped.promise,
      onStarted: ({ stdin, stdout, stderr }) => {
        reach('after spawn')
        stdin?.on('error', () => {})
        this.#stdin.resolve(stdin)
        this.#connect('stdout', stdout)
        this.#connect('stderr', stderr)
      },
      // Also if the server takes nothing now.
      onDead: () => {
        for (const output of this.#outputs) {
          outputs.delete(output)
          output.resume()
        }
      },
    })
  }

  /** Takes what the server says of it. */
  take(message: Extract<ToRunner, { type: 'stop' | 'input' | 'input_end' }>, chunk: Buffer): void {
    if (message.type !== 'stop') {
      void this.#stdin.promise.then((stdin) => {
        if (message.type === 'input_end') stdin?.end()
        else
          stdin?.write(chunk, (error) => {
            send({ type: 'input_done', call: this.#id, isClosed: error != null })
          })
      })
      return
    }
    const { cause } = message
    this.#stop ??= cause
    this.#stopped.resolve(cause)
  }

  #connect(output: Output, source: Readable): void {
    this.#outputs.push(source)
    outputs.add(source)
    source.once('close', () => outputs.delete(source))
    source.on('data', (chunk: Buffer) => {
      reach('during output')
      send({ type: 'output', call: this.#id, output }, chunk)
    })
  }
}
