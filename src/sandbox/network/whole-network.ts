import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { isIPv6 } from 'node:net'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { messageOf } from '../../lib/message-of.ts'
import { SandboxError } from '../project-folder.ts'
import { isRoot, type Programs, programIn, type Sandbox } from '../sandbox.ts'
import { HOLD, type Holder, hold, spawned } from '../system.ts'
import {
  ANY_HOST,
  type Connection,
  ConnectionReport,
  FlowReader,
  ownAddresses,
} from './connection.ts'

const NEEDED = ['pasta', 'ip', 'nsenter', 'unshare'] as const

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

const WITHIN_MS = 10_000
const POLL_MS = 2

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
  const program = (name: (typeof NEEDED)[number]): string => programIn(sandbox, name)
  const unshare = program('unshare')
  const holder = await holdNamespace([unshare, ...(isRoot() ? [] : USERS), '--net'], program('ip'))
  try {
    const ns = `/proc/${holder.pid}/ns`
    const place = join(sandbox.folder, RESOLV_CONF.name)
    const whose = isRoot() ? ['--runas', '0', '--netns-only'] : ['--userns', `${ns}/user`]
    const command = [
      ...[program('pasta'), '--foreground', '--debug', '--config-net', '--no-map-gw'],
      ...['--dns-forward', RESOLVER, '-t', 'none', '-u', 'none', '-T', 'none', '-U', 'none'],
      ...[...whose, '--netns', isRoot() ? place : `${ns}/net`],
    ]
    const mounted = [unshare, '--mount', '--propagation', 'private', '/bin/sh', '-c', MOUNT, 'sh']
    const passing = started(isRoot() ? [...mounted, `${ns}/net`, place, ...command] : command)
    await spawned(passing)
    const logged = logOf(passing, flows)
    await untilConnected(passing, holder.pid, flows)
    return {
      enter: networkOf(holder, sandbox),
      close: async () => {
        const bytes = bytesOf(holder.pid)
        passing.kill('SIGTERM')
        await logged
        holder.release()
        report.end()
        onConnection({ ...ALL, ...bytes })
      },
    }
  } catch (cause) {
    holder.release()
    throw cause
  }
}

/** What comes before a command line, to run it in the network of a process. */
export function networkOf({ pid }: Pick<Holder, 'pid'>, sandbox: Sandbox): readonly string[] {
  const also = isRoot() ? [] : ['--user', '--preserve-credentials']
  return [programIn(sandbox, 'nsenter'), `--target=${pid}`, ...also, '--net', '--']
}

const USERS = ['--user', '--map-current-user', '--keep-caps']
/** Puts addresses out of reach: each argument after the first is a line for `ip`. */
const UNREACHABLE = `ip=$1; shift; printf '%s\\n' "$@" | "$ip" -batch - || exit\n${HOLD}`

/**
 * pasta gives up its rights before it opens the namespace. It finds the namespace of root through a mount over a file,
 * which only pasta sees.
 */
const MOUNT = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'

const started = ([file = '', ...args]: readonly string[]) =>
  spawn(file, args, { cwd: '/', env: {} }).on('error', () => {})

/** The last record of a command, with what its namespace counted. */
const ALL = {
  ...{ host: ANY_HOST, port: 0, allowed: true },
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

async function holdNamespace(enter: readonly string[], ip: string): Promise<Holder> {
  const routes = [...ownAddresses()]
    .filter((address) => !/^(127\.|::1$|fe80:)/.test(address))
    .map((address) => `route add unreachable ${address}/${isIPv6(address) ? 128 : 32}`)
  const script = ['/bin/sh', '-c', UNREACHABLE, 'sh', ip, 'link set lo up', ...routes]
  return hold([...enter, ...script]).catch((cause) => {
    throw new SandboxError(`a network namespace cannot be made: ${messageOf(cause)}`)
  })
}

/** pasta in the foreground does not report when it is ready: the namespace has a default route then. */
async function untilConnected(
  passing: ChildProcess,
  holder: number,
  flows: FlowReader,
): Promise<void> {
  const { promise: ended, resolve } = Promise.withResolvers<true>()
  passing.once('exit', () => resolve(true)).once('error', () => resolve(true))
  const late = performance.now() + WITHIN_MS
  while (!hasRoute(holder)) {
    const isOver = await Promise.race([ended, pause(POLL_MS, false)])
    if (!isOver && performance.now() < late) continue
    passing.kill('SIGKILL')
    const why = flows.lastLine || 'it took too long'
    throw new SandboxError(`pasta does not give it a network: ${why}`)
  }
}

/** Whether the namespace of a process has a default route. */
function hasRoute(pid: number): boolean {
  const read = (name: string): string => {
    try {
      return readFileSync(`/proc/${pid}/net/${name}`, 'utf8')
    } catch {
      return ''
    }
  }
  return (
    /^\S+\t00000000\t(?!00000000)/m.test(read('route')) ||
    /^0{32} 00 0{32} 00 (?!0{32})[0-9a-f]{32} .* (?!lo)\S+$/m.test(read('ipv6_route'))
  )
}
