import { readdirSync } from 'node:fs'
import { chown, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Command } from '../../src/runner/command.ts'
import { isolated, temporaryFolder } from '../runner/support.ts'
import { OWNERS } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'

const FIRST = { checkHome: { run: 'run', makes: true } }
const LATER = { checkHome: { run: 'run', makes: false } }
const MIB = 1024 * 1024

async function place(owner = OWNERS[0]) {
  const base = await temporaryFolder()
  const begin = () => isolated('namespaces', { base, limits: { homeBytes: 4 * MIB } })
  let server = await begin()
  const { project, dataDir } = server
  if (owner !== undefined) await chown(project, owner, owner)
  const bash = (...of: Parameters<typeof server.bash>) => server.bash(...of)
  return {
    project,
    bash,
    forget: () => server.isolation.forget('run'),
    restart: async () => {
      server = await begin()
    },
    /** Every file of the home that the first check has made. */
    kept: () => readdirSync(join(dataDir, 'sandboxes/run/checks/home'), { recursive: true }).sort(),
    folder: join(dataDir, 'sandboxes/run/checks'),
  }
}

/** Ways to try to put something into the home of a later check. */
const ATTACKS = [
  'echo evil >~/planted; mkdir -p ~/.config/pip ~/.cargo && echo evil >~/.config/pip/pip.conf',
  'echo evil >>~/.cache/tool/result; echo evil >~/.cache/tool/other',
  'sed -i s/good/evil/ ~/.cache/tool/result',
  'rm -rf ~/.cache; mkdir -p ~/.cache/tool; echo evil >~/.cache/tool/result',
  'mv ~/.cache ~/old; ln -s "$PWD" ~/.cache; mkdir tool; echo evil >tool/result',
  'ln ~/.cache/tool/result ~/linked; echo evil >~/linked',
  'chmod -R 777 ~; exec 3<>~/.cache/tool/result; echo evil >&3',
  'truncate -s 0 ~/.cache/tool/result; touch -d 2001-01-01 ~/.cache/tool/result',
  `for d in $(sed -n 's/.*lowerdir=\\([^,]*\\).*/\\1/p; s/.*upperdir=\\([^,]*\\).*/\\1/p' /proc/self/mountinfo); do
     echo evil >$d/planted; rm -rf $d/.cache; done`,
  'mount -t overlay none -o lowerdir=$HOME /mnt; umount ~; umount -l ~; echo evil >~/.cache/tool/result',
] as const
const MADE =
  'mkdir -p ~/.cache/tool && echo good >~/.cache/tool/result && chmod 644 ~/.cache/tool/result'
const LOOK =
  'cd ~ && find . ! -name . ! -path ./.cache ! -path ./.cache/tool; stat -c "%a %h %s" .cache/tool/result; cat .cache/tool/result'
const UNTOUCHED = './.cache/tool/result\n644 1 5\ngood\n'

describe.skipIf(isMissing('bwrap')).each(OWNERS)('in a project of user %d', (owner) => {
  test('a check begins with what the first one left, and does not change it for later checks', async () => {
    const { bash, kept, folder } = await place(owner)
    const made = await bash(MADE, FIRST)
    expect(made.policy?.writable).toContain('home of the first check')
    const files = kept()
    for (const attack of ATTACKS) {
      await bash(attack, { run: 'run' })
      await bash(attack, LATER)
      const result = await bash(LOOK, LATER)
      expect(result.stdout, attack).toBe(UNTOUCHED)
      expect(result.policy?.writable).toEqual([
        'project',
        'copy of the home of the first check',
        'empty tmp',
      ])
      expect(kept()).toEqual(files)
    }
    // What a check wrote is removed after it, and the home of the agent is somewhere else.
    expect(await readdir(folder)).toEqual(['home'])
  })
})

describe.skipIf(isMissing('bwrap'))('the home of the checks of a run', () => {
  let at: Awaited<ReturnType<typeof place>>
  const stdout = async (script: string, options: Partial<Command> = LATER): Promise<string> =>
    (await at.bash(script, options)).stdout
  const LIST = 'ls -A ~'

  test('is made by all commands of the first check together, and is empty before, for another run, and without a run', async () => {
    at = await place()
    expect(await stdout(LIST)).toBe('')
    expect(await stdout(`touch ~/one; ${LIST}`, FIRST)).toBe('one\n')
    expect(await stdout(`touch ~/two; ${LIST}`, FIRST)).toBe('one\ntwo\n')
    expect(await stdout(`touch ~/three; ${LIST}`)).toBe('one\nthree\ntwo\n')
    expect(await stdout(LIST)).toBe('one\ntwo\n')
    for (const checkHome of [{ run: 'other', makes: false }, null]) {
      expect(await stdout(LIST, { checkHome })).toBe('')
    }
    expect(await stdout(LIST, {})).toBe('')
  })

  test('is empty after a restart of the server, which may repeat the first check, and after the end of the run', async () => {
    at = await place()
    await at.bash('touch ~/before', FIRST)
    await at.restart()
    expect(await stdout(LIST)).toBe('')
    expect(await stdout(`touch ~/after; ${LIST}`, FIRST)).toBe('after\n')
    expect(await stdout(LIST)).toBe('after\n')
    await at.forget()
    expect(await stdout(LIST)).toBe('')
  })

  test('is not kept if a command was stopped, such as for its size', async () => {
    at = await place()
    const fill = 'head -c 8000000 /dev/zero >~/large; sleep 1000'
    const why = 'wrote more than 4 MiB into its home and its temporary files'
    expect(await at.bash(fill, FIRST)).toMatchObject({ end: 'disk_full', why })
    expect(await stdout(LIST)).toBe('')
    await at.bash('touch ~/small', FIRST)
    expect(await at.bash(fill, LATER)).toMatchObject({ end: 'disk_full', why })
    expect(await stdout(LIST)).toBe('small\n')
    expect(await readdir(at.folder)).toEqual(['home'])
  })
})
