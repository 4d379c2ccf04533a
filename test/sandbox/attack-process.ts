import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, realpath, rm, writeFile } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createToolbox } from '../../src/agent/tools/toolbox.ts'
import { shellGoal } from '../../src/checks/shell-goal.ts'
import type { Level } from '../../src/domain/isolation.ts'
import type { OpenCall } from '../../src/domain/state.ts'
import { Workspace } from '../../src/workspace/workspace.ts'
import { BARE } from '../agent/tools/bare-call.ts'
import { isolatedServer } from '../support/isolated-server.ts'
import { processesOf } from '../support/processes.ts'
import { ATTACKS, type Target } from './attacks.ts'

/**
 * Plays the server: it has a key in its environment, a data folder, a home and sockets, and lets the model run the
 * attacks. Prints the outcome of each as a line of JSON. Arguments: the level, the way (`tool`: the tool of the attack, or
 * `bash_exec`; `check`: the check of a goal), and names of attacks (all if none is named). PROJECT_OWNER: who owns the project.
 */
const [level = 'auto', way = 'tool', ...names] = process.argv.slice(2)
const base = await realpath(await mkdtemp(join(tmpdir(), 'retrai-attack-')))
const at = (...path: readonly string[]): string => join(base, ...path)
process.env.HOME = at('home')

const FILES = {
  'data/keys/keyring.json': 'CANARY_KEY',
  'data/log.sqlite': 'CANARY_LOG',
  'home/.ssh/id_ed25519': 'CANARY_SSH',
  'home/.bashrc': '',
  'other/notes': 'CANARY_OTHER',
  'project/.git/hooks/pre-commit.sample': '',
  'project/.git/config': '[core]\n\tbare = false\n',
  'project/.git/HEAD': 'ref: refs/heads/main\n',
  'project/.git/objects/.keep': '',
  'project/.git/refs/.keep': '',
  'project/.retrai.yml': 'check_command: "true"\n',
}
for (const [path, text] of Object.entries(FILES)) {
  await mkdir(join(at(path), '..'), { recursive: true })
  await writeFile(at(path), text)
}
const { PROJECT_OWNER } = process.env
if (PROJECT_OWNER !== undefined) execFileSync('chown', ['-R', PROJECT_OWNER, at('project')])
const listening = async (where: number | string) => {
  const server = createServer((socket) => socket.on('error', () => {}).end('CANARY_API'))
  server.listen(where)
  await once(server, 'listening')
  return server
}
const abstract = `retrai-attack-${process.pid}`
const api = await listening(0)
await mkdir(at('project/tmp'), { recursive: true })
const servers = [
  api,
  await listening(at('project/own.sock')),
  await listening(at('project/tmp/deep.sock')),
  await listening(`\0${abstract}`),
  await listening(at('agent.sock')),
]

const shared = `/dev/shm/${abstract}`
await writeFile(shared, 'CANARY_SHARED', { mode: 0o666 })

/** In a namespace of its own, if the tests run as root. */
const KEY = 0x7e7a_0000 + (process.pid & 0xffff)
const SHARE = `
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
key, name = int(sys.argv[1]), sys.argv[2].encode()
shared = libc.shmget(key, 4096, 0o1666)
ctypes.memmove(libc.shmat(shared, None, 0), b'CANARY_SYSV', 11)
queue, semaphores = libc.msgget(key, 0o1666), libc.semget(key, 1, 0o1666)
libc.mq_open(name, 0o102, 0o666, None)
sys.stdin.read()
libc.shmctl(shared, 0, None); libc.msgctl(queue, 0, None); libc.semctl(semaphores, 0, 0); libc.mq_unlink(name)
`
const sharing = spawn('python3', ['-c', `${SHARE}`, String(KEY), `/${abstract}`], {
  stdio: ['pipe', 'ignore', 'inherit'],
}).on('error', () => {}) // without python3, the attacks that need it are left out

const target: Target = {
  KEY: String(KEY),
  SRV: String(process.pid),
  PORT: String((api.address() as AddressInfo).port),
  DATA: at('data'),
  HOME: at('home'),
  BASE: base,
  PROJECT: at('project'),
  ABSTRACT: abstract,
}
const server = await isolatedServer(level as Level | 'auto', at('data'))
const { runner, isolation, run: runCommand } = server
console.log(JSON.stringify({ level: isolation.level, detail: isolation.detail }))
const toolbox = createToolbox({ runCommand, artifacts: { put: async () => 'none' } })

const { signal } = new AbortController()
const cwd = at('project')
const workspace = new Workspace({ cwd }, server.start)
;(await workspace.ask('list', { path: '.', limit: 1 }))._unsafeUnwrap()

async function call(tool: string, args: OpenCall['args']) {
  const open = { call_id: '1', tool, args, read_only: false }
  const context = { ...BARE, cwd, workspace, signal, runId: 'run' }
  const { output, exit_code } = await toolbox.execute(open, context)
  return { output, exitCode: exit_code }
}

/** As the check of a goal, whose output the model reads too. */
async function check(check_command: string) {
  const shell_goal = { check_command, success_condition: { exit_code: 0 } }
  const config = { ...CONFIG, cwd, shell_goal }
  const places = { signal, runCommand, files: workspace }
  const { details } = await shellGoal.check({ config, ...places })
  return { output: details, exitCode: null }
}
const CONFIG = {
  goal: 'shell-goal',
  model_name: 'scripted',
  max_iterations: 1,
  hitl_enabled: false,
  max_cost_usd: null,
  max_tokens: null,
  max_seconds: null,
}

for (const { name, script, calls = [] } of ATTACKS.filter(
  ({ name }) => names.length === 0 || names.includes(name),
)) {
  const filled = (text: string) =>
    text.replace(/\{([A-Z]+)\}/g, (_, key) => target[key as keyof Target])
  const command = filled(script)
  let result =
    way === 'check' ? await check(command) : await call('bash_exec', { command, timeout_s: 120 })
  for (const { tool, args } of calls) {
    const { output } = await call(tool, JSON.parse(filled(JSON.stringify(args))))
    result = { ...result, output: `${result.output}${output}` }
  }
  // Processes that the attack has left.
  const left = processesOf('sleep 98765').length
  const changed: string[] = []
  for (const [path, text] of Object.entries(FILES)) {
    if ((await readFile(at(path), 'utf8').catch(() => null)) !== text) changed.push(path)
  }
  console.log(JSON.stringify({ name, left, changed, ...result }))
}
await workspace[Symbol.asyncDispose]()
runner.close()
sharing.stdin.end()
// At other levels than `namespaces`, a root server keeps homes outside of the data folder.
await isolation.leave()
for (const server of servers) server.close()
await rm(shared)
await rm(base, { recursive: true, force: true, maxRetries: 5 })
