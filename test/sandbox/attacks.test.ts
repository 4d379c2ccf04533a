import { execFile } from 'node:child_process'
import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import * as z from 'zod'
import { isRoot, USER } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'
import { ATTACKS, needsPython } from './attacks.ts'

const run = promisify(execFile)
const ROOT = join(import.meta.dirname, '../..')

const Outcome = z.object({
  name: z.string(),
  left: z.number(),
  changed: z.array(z.string()),
  output: z.string(),
  exitCode: z.number().nullable(),
})
type Outcome = z.infer<typeof Outcome>

/**
 * Runs attacks in a mount namespace of their own, so that one that succeeds changes nothing here. The checkout and Node are
 * mounted where every user may read them.
 * @param uid null: as the user who runs the tests
 */
async function attack(
  level: string,
  uid: number | null,
  way: 'tool' | 'check',
  names: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome[]> {
  const args = ['test/sandbox/attack-process.ts', level, way, ...names]
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'retrai-attacks-')))
  const [file, ...rest] = isRoot
    ? [
        'unshare',
        '--mount',
        '--uts',
        '--ipc',
        '--propagation',
        'private',
        'sh',
        '-ec',
        MOUNT,
        'sh',
        folder,
        ROOT,
        dirname(dirname(process.execPath)),
        String(uid ?? 0),
        ...args,
      ]
    : [process.execPath, ...args]
  try {
    const { stdout } = await run(file ?? '', rest, {
      cwd: ROOT,
      maxBuffer: 64 * 1024 * 1024,
      env: { ...process.env, CANARY_ENV: 'CANARY_ENV', ...env },
    })
    const [chosen = '', ...lines] = stdout.trim().split('\n')
    expect(JSON.parse(chosen)).toMatchObject({ level })
    return lines.map((line) => Outcome.parse(JSON.parse(line)))
  } finally {
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

const MOUNT = `
folder=$1 root=$2 node=$3 uid=$4
shift 4
chmod 755 "$folder"
mkdir "$folder/root" "$folder/node"
mount --bind "$root" "$folder/root"
mount --bind "$node" "$folder/node"
secret() {
  echo CANARY_ETC >"$folder/$1"
  chown "$2" "$folder/$1"
  chmod "$3" "$folder/$1"
  [ ! -e "$4" ] || mount --bind "$folder/$1" "$4"
}
secret groups 0:0 644 /etc/gshadow
secret passwords ${USER}:0 600 /etc/security/opasswd
secret machine 0:${USER} 640 /etc/machine-id
mkdir "$folder/ssh"
secret ssh/key 0:0 644 /etc/none
chmod 711 "$folder/ssh"
[ ! -e /etc/ssh ] || mount --bind "$folder/ssh" /etc/ssh
cd "$folder/root"
exec env -u NODE_OPTIONS PATH="$folder/node/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" setpriv --reuid "$uid" --regid "$uid" --clear-groups node "$@"
`

const POSSIBLE = ATTACKS.filter((one) => !needsPython(one) || !isMissing('python3'))
const won = ({ output }: Outcome): boolean => /WON|CANARY/.test(output)

const USERS: readonly (readonly [user: string, uid: number | null])[] = [
  [isRoot ? 'root' : 'an ordinary user', null],
  ...(isRoot ? ([['an ordinary user', USER]] as const) : []),
]

/** A check is isolated as the commands of the same user are, so one user shows that. */
const WAYS = [
  ...USERS.map(([user, uid]) => ({ user, uid, how: 'through tools', way: 'tool' as const })),
  ...USERS.slice(0, 1).map(([user, uid]) => {
    return { user, uid, how: 'as the check of a goal', way: 'check' as const }
  }),
]

describe.skipIf(isMissing('bwrap')).each(WAYS)('in a container of $user, $how', ({ uid, way }) => {
  let outcomes: readonly Outcome[] = []
  beforeAll(async () => {
    outcomes = await attack('namespaces', uid, way)
  }, 400_000)

  test.each(POSSIBLE)('a command cannot $name', ({ name, exitCode }) => {
    const outcome = outcomes.find((one) => one.name === name)
    expect(outcome).toMatchObject({
      output: expect.not.stringMatching(/WON|CANARY/),
      left: 0,
      changed: [],
    })
    if (exitCode !== undefined && way === 'tool') expect(outcome?.exitCode).toBe(exitCode)
  })
})

test.runIf(isRoot && !isMissing('bwrap'))(
  'in a project of an ordinary user, a root server shows no secrets of the system either',
  async () => {
    const names = ATTACKS.flatMap(({ name }) => (name.startsWith('read secrets') ? [name] : []))
    const env = { PROJECT_OWNER: String(USER) }
    const outcomes = await attack('namespaces', null, 'tool', names, env)
    expect(outcomes.map(({ name }) => name)).toContain(
      'read secrets of the system that its user could read',
    )
    expect(outcomes.filter(won)).toEqual([])
  },
)

/** docs/security.md lists what Landlock cannot prevent. */
test.skipIf(isMissing('landlock')).each(USERS)(
  'with Landlock, a command of %s cannot reach the server',
  async (_, uid) => {
    const names = POSSIBLE.flatMap(({ name, onlyContained }) => (onlyContained ? [] : [name]))
    const outcomes = await attack('landlock', uid, 'tool', names)
    expect(outcomes.filter(won)).toEqual([])
    expect(outcomes.map(({ left, changed }) => [left, changed])).toEqual(names.map(() => [0, []]))
  },
)

/** Without isolation, the same attacks succeed. Otherwise, the tests above would prove nothing. */
test.each(USERS)('without isolation, %s is at the mercy of its commands', async (user, uid) => {
  const names = POSSIBLE.flatMap(({ name, real }) =>
    real === 'always' || (real === 'root' && user === 'root') ? [name] : [],
  )
  const outcomes = await attack('none', uid, 'tool', names)
  expect(outcomes.filter(won).map(({ name }) => name)).toEqual(names)
})
