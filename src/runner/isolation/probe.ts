import { chown, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { collectOutput } from '../collect-output.ts'
import type { Limits } from '../protocol.ts'
import type { Runner } from '../runner.ts'
import type { Sandbox } from './sandbox.ts'

const WITHIN_MS = 10_000
const MIB = 1024 * 1024
/** How much is kept of what a trial prints. */
const MAX_BYTES = 64 * 1024
/** The limits of a trial. */
const LIMITS: Limits = {
  memoryBytes: 512 * MIB,
  ...{ processes: 64, homeBytes: 512 * MIB, freeDiskBytes: 0 },
  all: { memoryBytes: Number.MAX_SAFE_INTEGER, processes: Number.MAX_SAFE_INTEGER },
}

/** Reports what an isolated command can do, with nothing but a shell; `$1` is a file that it must not be able to read. */
const SCRIPT = `
while read -r name value _; do
  case $name in Uid:|CapEff:|NoNewPrivs:|Seccomp:) echo "$name $value" ;; esac
done </proc/self/status
(: <"$1") 2>/dev/null && echo 'reads the data folder'
(: >>/proc/sys/kernel/core_pattern) 2>/dev/null && echo 'writes core_pattern'
(: >>/etc/passwd) 2>/dev/null && echo 'writes /etc'
(: >written) 2>/dev/null && echo 'writes the project'
while read -r name rest; do case $name in *:) echo "network $name" ;; esac; done </proc/net/dev
set -- /proc/[0-9]*
[ $# -lt 8 ] && echo 'is alone'
:
`
const EVERYWHERE = ['CapEff: 0000000000000000', 'NoNewPrivs: 1', 'Seccomp: 2', 'writes the project']
const ALONE = ['network lo:', 'is alone']

/**
 * Tries a level by running a command at it. Null if it holds, else why not, as a part of a sentence.
 * @param sandbox of a command; its project is replaced by a folder made for this
 * @param on `secret` is a file of the server; `owner` is who owns the project, null for the server's user
 */
export async function probe(
  runner: Pick<Runner, 'start'>,
  sandbox: Sandbox,
  { secret, owner }: { readonly secret: string; readonly owner: number | null },
): Promise<string | null> {
  const project = await mkdtemp(join(tmpdir(), 'retrai-probe-'))
  try {
    if (owner !== null) await chown(project, owner, owner)
    const args = ['-c', SCRIPT, 'probe', secret]
    const call = runner.start({
      ...{ file: '/bin/sh', args, cwd: project, project },
      ...{ env: { PATH: '/usr/bin:/bin' }, timeoutMs: WITHIN_MS, keptBytes: MAX_BYTES },
      ...{ group: null, limits: LIMITS },
      sandbox: { ...sandbox, project },
    })
    const output = collectOutput(call, MAX_BYTES, {
      maxTotalBytes: Number.POSITIVE_INFINITY,
      onTooMuch: () => {},
    })
    const ended = await call.ended
    await output.closed
    const [stdout, stderr] = [output.stdout.text(), output.stderr.text()]
    if (ended.end === 'timed_out') return 'a trial took too long'
    if (ended.end !== 'exited' || stdout === '') {
      const said = 'message' in ended ? ended.message : ''
      return reasonOf(stderr.trim().split('\n')[0] || said || `a trial ended with ${ended.end}`)
    }
    const found = stdout.trim().split('\n')
    const uid = owner ?? sandbox.ownUser?.id ?? process.getuid?.()
    const everywhere = [`Uid: ${uid}`, ...EVERYWHERE]
    const wanted = sandbox.level === 'namespaces' ? [...everywhere, ...ALONE] : everywhere
    const missing = wanted.filter((line) => !found.includes(line))
    // Where a command shares the namespaces of the server, their networks and processes say nothing.
    const isShared = (line: string): boolean =>
      sandbox.level !== 'namespaces' && (line.startsWith('network ') || ALONE.includes(line))
    const extra = found.filter((line) => !wanted.includes(line) && !isShared(line))
    if (missing.length + extra.length === 0) return null
    return `a trial found ${[...missing.map((line) => `no "${line}"`), ...extra.map((line) => `"${line}"`)].join(', ')}`
  } finally {
    await rm(project, { recursive: true, force: true })
  }
}

/** What the message of bwrap or setpriv means for those who can change it. */
function reasonOf(message: string): string {
  if (/No permissions to create|Creating new namespace failed/.test(message)) {
    return `this system refuses namespaces to it, as containers do by default ("${message}")`
  }
  if (/uid map/.test(message))
    return `AppArmor or the like refuses user namespaces to it ("${message}")`
  if (/mount proc/.test(message)) return `this container hides parts of /proc ("${message}")`
  return message
}
