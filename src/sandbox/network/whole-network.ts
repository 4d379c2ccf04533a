import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { promisify } from 'node:util'
import { messageOf, throwIfShort } from '../../lib/message-of.ts'
import { within } from '../../lib/promises.ts'
import { words } from '../../lib/text.ts'
import { SandboxError } from '../project-folder.ts'
import { isRoot, type Programs, programIn, type Sandbox } from '../sandbox.ts'
import { HOLD, type Holder, spawned, WITHIN_MS } from '../system.ts'
import {
  ANY_HOST,
  type Connection,
  ConnectionReport,
  FlowReader,
  ownAddresses,
} from './connection.ts'

const execute = promisify(execFile)

const NEEDED = ['pasta', 'ip', 'nsenter'] as const

/** Why no command can have the whole network: a sentence that says what to install; null if one can. */
export function networkProblem(programs: Programs): string | null {
  const missing = NEEDED.filter((name) => programs[name] === undefined)
  if (missing.length === 0) return null
  return (
    `The network "full" needs ${missing.join(' and ')}, which the server does not find. Install it ` +
    '(apt-get install passt iproute2 util-linux) and start the server again, or name hosts.'
  )
}

/** Where a container finds a resolver: pasta passes queries on to that of the machine. */
const RESOLVER = '169.254.1.1'
/** The file that names it: where it is in a container, and its name in the folder that the server makes for commands. */
export const RESOLV_CONF = {
  path: '/etc/resolv.conf',
  name: 'resolv.conf',
  text: `nameserver ${RESOLVER}\n`,
} as const

/** A network namespace with the network of the machine. */
export type WholeNetwork = {
  /** What comes before a command line, to run it in there. */
  readonly enter: readonly string[]
  /** Ends it. Resolves when all its connections are reported. */
  readonly close: () => Promise<void>
}

/**
 * Makes a namespace that has the network of the machine: pasta passes on what is sent in it. The addresses of the machine
 * itself are out of reach, because the server listens there.
 * @param onConnection called with each connection when it begins, and at the end with the bytes of all together
 * @returns rejects with a `SandboxError`
 */
export async function openWholeNetwork(
  sandbox: Sandbox,
  onConnection: (connection: Connection) => void,
): Promise<WholeNetwork> {
  const report = new ConnectionReport(onConnection)
  const flows = new FlowReader((connection) => report.add(connection))
  const passing = startPasta(programIn(sandbox, 'pasta'))
  const logged = logOf(passing, flows)
  try {
    const pid = await shellOf(passing, logged)
    const enter = networkOf({ pid }, sandbox)
    await refuseMachine([...enter, programIn(sandbox, 'ip'), '-batch', '-'])
    return {
      enter,
      close: async () => {
        const bytes = bytesOf(pid)
        passing.stdin.destroy()
        await logged
        report.end()
        onConnection({ ...ALL, ...bytes })
      },
    }
  } catch (cause) {
    passing.kill('SIGKILL')
    throwIfShort(cause)
    const why = flows.lastLine || messageOf(cause)
    throw new SandboxError(`pasta does not give it a network: ${why}`)
  }
}

/** pasta, with a shell that it starts when its namespace has the network. It ends with that shell. */
function startPasta(pasta: string) {
  const args = [
    ...words(`--foreground --debug --config-net --no-map-gw --dns-forward ${RESOLVER}`),
    ...words('-t none -u none -T none -U none'),
    ...(isRoot() ? ['--runas', '0'] : []),
    '--',
    '/bin/sh',
    '-c',
    HOLD,
  ]
  const passing = spawn(pasta, args, { cwd: '/', env: {} }).on('error', () => {})
  passing.stdin.on('error', () => {})
  return passing
}

/** The shell of pasta, as soon as it runs. */
async function shellOf(passing: ChildProcess, logged: Promise<void>): Promise<number> {
  const pid = await spawned(passing)
  const { promise: runs, resolve } = Promise.withResolvers<true>()
  passing.stdout?.once('data', () => resolve(true))
  const ended = logged.then(() => new Error('it ended'))
  const late = (): Error => new Error('it took too long')
  const outcome = await within(WITHIN_MS, Promise.race([runs, ended]), late)
  if (outcome !== true) throw outcome
  // In the namespace of process ids that pasta makes, it has another number.
  return Number.parseInt(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'), 10)
}

/** What comes before a command line, to run it in the network of a process. */
export function networkOf({ pid }: Pick<Holder, 'pid'>, sandbox: Sandbox): readonly string[] {
  const also = isRoot() ? [] : ['--user', '--preserve-credentials']
  return [programIn(sandbox, 'nsenter'), `--target=${pid}`, ...also, '--net', '--']
}

/** Puts the addresses of the machine out of reach. @param ip starts `ip` in the namespace */
async function refuseMachine([file = '', ...args]: readonly string[]): Promise<void> {
  const routes = [...ownAddresses()]
    .filter((address) => !/^(127\.|::1$|fe80:)/.test(address))
    .map((address) => `route add unreachable ${address}/${isIPv6(address) ? 128 : 32}\n`)
  const running = execute(file, args, { cwd: '/', env: {} })
  running.child.stdin?.on('error', () => {}).end(routes.join(''))
  await running
}

/** The last record of a command, with what its namespace counted. */
const ALL = {
  host: ANY_HOST,
  port: 0,
  allowed: true,
  reason: 'All that the command sent and received, in all its connections together',
} as const

/** What the interfaces of a namespace have counted. */
function bytesOf(pid: number): Pick<Connection, 'bytes_in' | 'bytes_out'> {
  try {
    const counted = readFileSync(`/proc/${pid}/net/dev`, 'utf8').matchAll(
      /^ *(?!lo:)\S+: *(\d+)(?: +\d+){7} +(\d+)/gm,
    )
    const sum = (index: number, all: readonly RegExpExecArray[]): number =>
      all.reduce((total, found) => total + Number(found[index]), 0)
    const all = [...counted]
    return { bytes_in: sum(1, all), bytes_out: sum(2, all) }
  } catch {
    return { bytes_in: null, bytes_out: null }
  }
}

/** Reads the log of pasta to its end. */
async function logOf(passing: ChildProcess, flows: FlowReader): Promise<void> {
  passing.stdout?.resume()
  const { promise, resolve } = Promise.withResolvers<void>()
  passing.stderr?.setEncoding('utf8').on('data', (piece: string) => flows.read(piece))
  passing.stderr?.once('close', resolve)
  return promise
}
