import { readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ScriptedModel } from '../../examples/scripted-model/server.ts'
import { createClient } from '../../src/client/index.ts'
import { isMissing } from '../support/missing.ts'
import { bash, printed, Site, type SiteServer, until } from '../support/site.ts'
import { begin, cleanEnv, jsonLines, kept, refused, retrai, startAtTerminal } from './support.ts'

let site: Site
let model: ScriptedModel
let server: SiteServer
let env: NodeJS.ProcessEnv

const RETRAI_TOKEN = 'a'.repeat(64)
const SERVER_RULES = [{ command: 'rm *', action: 'deny', reason: 'Nothing is removed here' }]
const RULES = [{ command: 'touch *', action: 'ask', reason: 'It makes files' }]

beforeAll(async () => {
  site = await Site.open()
  model = await site.model(({ turn }) =>
    turn === 0
      ? {
          calls: [
            ...bash('rm -f .retrai.yml').calls,
            { tool: 'file_read', args: { path: '.retrai.yml' } },
            ...bash('touch \u001b[2Jdone').calls,
            ...bash('true && touch done').calls,
          ],
        }
      : { text: 'It is done.' },
  )
  const rules = await site.write('ceiling.json', JSON.stringify(SERVER_RULES))
  const token = { RETRAI_TOKEN }
  server = await site.serve('data', { model, env: { ...token, RETRAI_APPROVALS: rules } })
  env = { ...cleanEnv(), ...token, RETRAI_SERVER: server.url }
})
afterAll(() => site.close())

test('a person denies one call and allows another, each by its hash', async () => {
  const project = await site.project()
  const rules = await site.write('rules.json', JSON.stringify(RULES))
  const options = ['--cwd', project, '--model', 'scripted', '--set', `approvals=@${rules}`]
  const runId = (await printed(['run', 'shell-goal', ...options, '--detach'], env)).trim()
  const { runs } = createClient({ baseUrl: server.url, token: RETRAI_TOKEN })
  const waitingFor = async (before = -1) => {
    const { progress } = await until(
      async () => (await runs.get(runId))._unsafeUnwrap(),
      ({ progress: { waiting_for: waiting } }) => !!waiting?.approval && waiting.seq > before,
    )
    const { seq = 0, approval } = progress.waiting_for ?? {}
    return { seq, hash: approval?.call_sha256 ?? '' }
  }

  const watching = begin(['watch', runId], env)
  await watching.prints(/A call waits for a person\. .*: retrai show /)
  const first = await waitingFor()
  const shown = await printed(['show', runId], env)
  expect(shown).toContain('| touch \\u001b[2Jdone')
  expect(shown).not.toContain('\u001b[2J')
  expect(shown).toContain('Rule 1 of the run asks first: It makes files')
  expect(shown).toContain(`retrai deny ${runId} ${first.hash.slice(0, 16)}`)

  await refused(['approve', runId], 'Name the call', env)
  await refused(['approve', runId, '0'.repeat(16)], 'Another call waits', env)
  await printed(['deny', runId, first.hash.slice(0, 16), '--reason', 'odd name'], env)

  const second = await waitingFor(first.seq)
  await printed(['approve', runId, second.hash], env)
  expect(await watching.exit, watching.stdout).toBe(0)
  expect(await readFile(join(project, 'done'), 'utf8')).toBe('')
  const asked = model.requests.at(-1)?.messages.map(({ content }) => content) ?? []
  const said = JSON.stringify(asked)
  expect(said).toContain('Rule 1 of the server denied this call: Nothing is removed here')
  expect(said).toContain('A person denied this call: odd name')

  const told =
    /approval_required .* asks: It makes files\n.* token: deny: odd name\n[\s\S]* token: allow\n/
  expect(await printed(['replay', runId], env)).toMatch(told)
  const exported = site.path('run.tar.gz')
  await printed(['export', runId, exported], env)
  expect(await printed(['replay', exported], env)).toMatch(told)
  expect(await printed(['replay', exported, '--kinds', 'all', '--json'], env)).not.toContain('meta')
})

/** Python makes the terminal. */
test.skipIf(isMissing('python3'))(
  'a person at a terminal is asked about each call, with the call in full and its rule',
  async () => {
    // The rules come from the project, so nobody has to name them.
    const settings = `check_command: test -f done\napprovals: ${JSON.stringify(RULES)}\n`
    const project = dirname(await site.write('terminal/.retrai.yml', settings))
    const running = kept(startAtTerminal(['run', '--cwd', project, '--model', 'scripted'], env))
    await running.prints(
      /\| touch \\u001b\[2Jdone[\s\S]*Rule 1 of the run asks first: It makes files/,
    )
    await running.prints(/\[a\]llow or \[d\]eny, and why if you want; Enter to decide later: /)
    running.type('perhaps\n')
    await running.prints(/perhaps[\s\S]*\[a\]llow/)
    running.type('d odd name\n')
    await running.prints(/deny: odd name[\s\S]*\| true && touch done[\s\S]*\[a\]llow/)
    running.type('a\n')
    expect(await running.exit, running.stdout).toBe(0)
    expect(running.stdout).toContain('The goal is shell-goal')
    expect(running.stdout).toMatch(/Run achieved \(1 iteration, /)
    const runId = /^Run (\S+):/m.exec(running.stdout)?.[1] ?? ''
    const answered = jsonLines(
      await retrai(['watch', runId, '--kinds', 'approval_response', '--json'], env),
    )
    for (const { payload } of answered) {
      expect(payload.seen).toEqual({ seq: payload.answers, hash: payload.shown_sha256 })
    }
    expect(answered).toHaveLength(2)
    expect(running.stdout).not.toContain('\x1b[2J')
    expect(await readFile(join(project, 'done'), 'utf8')).toBe('')
  },
)
