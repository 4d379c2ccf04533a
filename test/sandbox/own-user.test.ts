import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Command } from '../../src/runner/command.ts'
import { DEFAULT_LIMITS } from '../../src/runner/run-command.ts'
import { withOwnUser } from '../../src/sandbox/namespaces.ts'
import { OWN_ID, type Sandbox } from '../../src/sandbox/sandbox.ts'
import { isolated, temporaryFolder } from '../runner/support.ts'
import { isMissing } from '../support/missing.ts'

/**
 * A root server with a project of root.
 * @param unmappable a part of the paths that `mount` cannot map ids for, as on NFS
 */
async function place(mode = 0o755, unmappable: string | null = null) {
  const base = await temporaryFolder()
  const bin = join(base, 'programs')
  await mkdir(bin)
  const fails = `#!/bin/sh\ncase "$*" in *"${unmappable}"*) exit 32;; esac; exec /usr/bin/mount "$@"\n`
  if (unmappable !== null) await writeFile(join(bin, 'mount'), fails, { mode: 0o755 })
  const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` }
  await mkdir(join(base, 'project'), { mode })
  return isolated('namespaces', { base, env })
}

describe.runIf(process.getuid?.() === 0 && !isMissing('bwrap'))('in a project of root', () => {
  test('commands run as another user, who has a name', async () => {
    const { bash, isolation, project } = await place()
    const result = await bash('id -u; id -g; whoami; echo ~agent')
    expect(result.output).toBe(`${OWN_ID}\n${OWN_ID}\nagent\n/home/agent\n`)
    expect(result.policy).toMatchObject({ user: 'own' })
    expect(isolation.factsFor(project, 'none')).toMatchObject({ user: 'own' })
  })

  test('if no file system can map ids, commands run as root without capabilities, which the server and the record report', async () => {
    const { bash, isolation, project } = await place(0o755, '')
    expect(isolation.ownUserProblem).toMatch(/belongs to root, commands run as root without/)
    expect(isolation.detail).toContain(isolation.ownUserProblem)
    expect(isolation.factsFor(project, 'none')).toMatchObject({ user: 'root' })
    const result = await bash('id -u; grep CapEff /proc/self/status')
    expect(result.output).toMatch(/^0\nCapEff:\s+0{16}\n$/)
    expect(result.policy).toMatchObject({ level: 'namespaces', user: 'root' })
  })

  test('if the file system of one project cannot, the result reports that, with another hash', async () => {
    const { bash, isolation, project } = await place(0o755, '/project ')
    expect(isolation.ownUserProblem).toBeNull()
    const promised = isolation.factsFor(project, 'none')
    expect(promised).toMatchObject({ user: 'own' })
    const { output, policy } = await bash('id -u', { run: 'run' })
    expect(output).toBe('0\n')
    expect(policy).toMatchObject({ level: 'namespaces', user: 'root' })
    expect(policy?.policy_sha256).not.toBe(promised.policy_sha256)
  })

  test('if it is not known whether it can, commands are refused, and the next one tries again', async () => {
    const base = await temporaryFolder()
    const [project, done, mount] = ['project', 'done', 'mount'].map((name) => join(base, name))
    await mkdir(project ?? '')
    const script = `#!/bin/sh\n[ -e ${done} ] || exit 2\nexec /usr/bin/mount "$@"\n`
    await writeFile(mount ?? '', script, { mode: 0o755 })
    const programs = { mount, unshare: '/usr/bin/unshare' }
    const sandbox = { project, known: null, enter: [], ownUser: true, programs, hidden: [] }
    const seen = () => withOwnUser(sandbox as unknown as Sandbox)
    await expect(seen()).rejects.toThrow('its project cannot be mounted for its user')
    await writeFile(done ?? '', '')
    expect(await seen()).toMatchObject({ ownUser: true, enter: expect.arrayContaining([project]) })
  })

  test('a command that is stopped does not wait for the mount of its project', async () => {
    const { isolation, project, runner } = await place()
    const { sandbox } = (await isolation.prepare({ ...COMMAND, cwd: project }, {})) ?? {}
    if (!sandbox?.ownUser) throw new Error('it has no user')
    const mount = join(await temporaryFolder(), 'mount')
    const script = `#!/bin/sh\n: >$0.begun; while [ -e $0 ]; do sleep 0.05; done\n`
    await writeFile(mount, script, { mode: 0o755 })
    const call = runner.start({
      file: 'true',
      args: [],
      cwd: project,
      project,
      env: {},
      timeoutMs: null,
      limits: DEFAULT_LIMITS,
      group: null,
      sandbox: { ...sandbox, programs: { ...sandbox.programs, mount } },
    })
    await expect.poll(() => existsSync(`${mount}.begun`)).toBe(true)
    call.stop('aborted')
    expect(await call.ended).toMatchObject({ end: 'aborted' })
  })

  test('files stay owned by root and by others, commands and root can change those of root, and git works', async () => {
    const { bash, project } = await place(0o700)
    await writeFile(join(project, 'private'), 'from root\n', { mode: 0o600 })
    await writeFile(join(project, 'theirs'), '', { mode: 0o600 })
    await chown(join(project, 'theirs'), 1500, 1500)
    expect(await bash('stat -c %u theirs; cat theirs')).toMatchObject({
      stdout: '1500\n',
      exitCode: 1,
    })
    const first = await bash('cat private; echo more >>private; mkdir made; echo made >made/file')
    expect(first).toMatchObject({ output: 'from root\n', exitCode: 0 })
    for (const path of ['private', 'made', 'made/file']) {
      expect(await stat(join(project, path))).toMatchObject({ uid: 0, gid: 0 })
    }
    expect(await readFile(join(project, 'private'), 'utf8')).toBe('from root\nmore\n')
    expect(await bash('echo again >>made/file; rm -r made')).toMatchObject({ exitCode: 0 })
    const who = '-c user.name=a -c user.email=a@b'
    const script = `git init -q && git add private && git ${who} commit -qm one && git log --format=%s`
    expect(await bash(script)).toMatchObject({ exitCode: 0, stdout: 'one\n' })
  })

  test('no program that is still root loads what a variable of the command names', async () => {
    const { bash } = await place()
    const env = { LD_PRELOAD: "/no'where.so", LD_LIBRARY_PATH: '/nowhere' }
    const { output } = await bash('echo "$LD_LIBRARY_PATH"', { env })
    // Each program that the variable reaches prints a line: only the command does.
    expect(output).toMatch(/^ERROR: ld.so: object '\/no'where.so' from LD_PRELOAD .*\n\/nowhere\n$/)
  })

  test('a home that an earlier version left owned by root can be used', async () => {
    const { bash, isolation } = await place()
    await bash('echo old >~/old', { run: 'run' })
    const { sandbox } = (await isolation.prepare({ ...COMMAND, run: 'run' }, {})) ?? {}
    const home = sandbox?.own?.home ?? ''
    await chown(home, 0, 0)
    await chown(join(home, 'old'), 0, 0)
    await chmod(home, 0o700)
    expect(await bash('cat ~/old; echo new >~/new', { run: 'run' })).toMatchObject({
      exitCode: 0,
      output: 'old\n',
    })
  })
})

const COMMAND: Command = {
  file: 'true',
  args: [],
  cwd: '/',
  timeoutMs: 1000,
  signal: new AbortController().signal,
}
