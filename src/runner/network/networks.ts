import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Notice } from '../../domain/records.ts'
import { spawned } from '../child.ts'
import { SandboxError } from '../isolation/project-folder.ts'
import { isRoot, type Sandbox } from '../isolation/sandbox.ts'
import type { CallEnd, Localhost, StartRequest } from '../protocol.ts'
import { CommandProxies } from './command-proxies.ts'
import type { Connection } from './connection.ts'
import { FIRST_PORT, networkVariables } from './forwarder.ts'
import { openWholeNetwork, type WholeNetwork } from './whole-network.ts'

type Note = (notice: Notice) => void
type Run = (request: StartRequest) => Promise<CallEnd>

type Shared = {
  readonly network: Promise<WholeNetwork>
  /** The commands in it, by their numbers. The first gets what is reported of the whole network. */
  readonly members: Map<number, Note>
}

/**
 * The networks of commands. Each command has one of its own, except while a process of its run works in the background:
 * then the commands of the run join the network of that process, so that they reach its ports on localhost. A network
 * ends with the last command in it.
 */
export class Networks {
  readonly #proxies = new CommandProxies()
  readonly #shared = new Map<string, Shared>()

  /** Runs a command while it can reach what it may reach. Rejects with a `SandboxError` if the network cannot be made. */
  async with(request: StartRequest, note: Note, run: Run): Promise<CallEnd> {
    const { sandbox, localhost = null } = request
    if (sandbox?.level !== 'namespaces') return run(request)
    const shared = this.#sharedBy(sandbox, localhost, note)
    if (shared === null) return this.#withHosts(request, sandbox, FIRST_PORT, note, run)
    const { members, network } = shared
    let member = 0
    while (members.has(member)) member += 1
    members.set(member, note)
    try {
      const enter = [...sandbox.enter, ...(await network).enter]
      const inside = { ...sandbox, enter, hasNetwork: true }
      return await this.#withHosts(request, inside, FIRST_PORT + member, note, run)
    } finally {
      if (members.size === 1) {
        for (const [key, one] of this.#shared) if (one === shared) this.#shared.delete(key)
        // It reports to the last member.
        await network.then(({ close }) => close()).catch(() => {})
      }
      members.delete(member)
    }
  }

  /** The network that a command enters; null if it gets an empty one from its container. */
  #sharedBy(sandbox: Sandbox, localhost: Localhost | null, note: Note): Shared | null {
    const isWhole = sandbox.network === 'full'
    const joins = localhost !== null && (isWhole || sandbox.nsenter !== null)
    const known = joins ? this.#shared.get(localhost.key) : undefined
    if (known !== undefined) return known
    if (!isWhole && !(joins && localhost.opens)) return null
    const members = new Map<number, Note>()
    const onConnection = (payload: Connection): void => {
      const [first = note] = members.values()
      first({ kind: 'network_connection', payload })
    }
    const shared = { members, network: openNetwork(sandbox, onConnection) }
    if (joins && localhost.opens) this.#shared.set(localhost.key, shared)
    return shared
  }

  async #withHosts(
    request: StartRequest,
    sandbox: Sandbox,
    port: number,
    note: Note,
    run: Run,
  ): Promise<CallEnd> {
    const { network } = sandbox
    if (typeof network === 'string') return run({ ...request, sandbox })
    const proxy = await this.#proxies.open(sandbox.folder, network.allow, (payload) =>
      note({ kind: 'network_connection', payload }),
    )
    const env = { ...request.env, ...networkVariables(network, port) }
    try {
      return await run({
        ...request,
        env,
        sandbox: { ...sandbox, proxy: { socket: proxy.path, port } },
      })
    } finally {
      await proxy.close()
    }
  }
}

async function openNetwork(
  sandbox: Sandbox,
  onConnection: (connection: Connection) => void,
): Promise<WholeNetwork> {
  if (sandbox.network !== 'full') return openLoopback(sandbox)
  if (sandbox.networkTools === null)
    throw new SandboxError('the programs for its network are missing')
  return openWholeNetwork(sandbox.networkTools, sandbox.folder, onConnection)
}

/** Shows its number in the namespace of the runner, and waits until the runner closes the pipe or ends. */
const HOLD = 'echo $$; read -r _'

/** A network namespace with nothing but loopback. bwrap makes it, because it can switch loopback on. */
async function openLoopback({ launcher, nsenter }: Sandbox): Promise<WholeNetwork> {
  if (nsenter === null) throw new SandboxError('nsenter of util-linux is not installed')
  const users = isRoot() ? [] : ['--unshare-user']
  const holder = spawn(
    launcher,
    [
      ...users,
      '--unshare-net',
      '--die-with-parent',
      '--dev-bind',
      '/',
      '/',
      '--',
      '/bin/sh',
      '-c',
      HOLD,
    ],
    { cwd: '/', env: {}, stdio: ['pipe', 'pipe', 'ignore'] },
  )
  await spawned(holder)
  holder.stdin.on('error', () => {})
  const started = await Promise.race([
    once(holder.stdout, 'data').then(([line]) => Number(line)),
    once(holder, 'close').then(() => null),
  ]).catch(() => null)
  if (started === null) throw new SandboxError('a network namespace cannot be made')
  const also = isRoot() ? [] : ['--user', '--preserve-credentials']
  return {
    enter: [nsenter, `--target=${started}`, ...also, '--net', '--'],
    close: async () => {
      holder.stdin.destroy()
    },
  }
}
