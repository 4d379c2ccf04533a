import { expect, test } from 'vitest'
import { allMessages, lastWords } from '../../src/domain/conversation.ts'
import { converse } from '../../src/domain/converse.ts'
import type { Kind, PayloadOf } from '../../src/domain/records.ts'
import type { RunConfig } from '../../src/domain/run-config.ts'
import { bare, conversationOf as fold, textsIn as sent } from './support.ts'

const record = <K extends Kind>(kind: K, payload: object) => bare(kind, payload as PayloadOf<K>)
const config = { goal: 'pytest', cwd: '/p' } as RunConfig
const created = (more: object = {}) =>
  record('run_created', { config, system_prompt: 'Fix it.', ...more })
const reply = (text: string, calls: readonly string[] = [], more: object = {}) =>
  record('assistant_message', {
    text,
    finish_reason: 'stop',
    ...more,
    tool_calls: calls.map((call_id) => ({ call_id, tool: 'file_write', args: { path: 'a.txt' } })),
  })
const result = (call_id: string) =>
  record('tool_result', {
    call_id,
    tool: 'file_write',
    output: 'ok',
    outcome: 'ok',
    exit_code: null,
  })
const said = (text: string) => record('user_message', { text })

const first = [
  created(),
  said('Hurry.'),
  reply('I write.', ['c0', 'c1'], { user_messages: 1 }),
  result('c0'),
]

test('what was sent stays, and then come what no request held yet, the note, and the instructions', () => {
  const before = fold([...first, said('And well.')])
  const now = fold([created({ instructions: 'Go slow.' })], before)
  const [earlier, later] = [sent(fold(first)), sent(now)]
  expect(later.slice(0, earlier.length)).toEqual(earlier)
  expect(later.slice(earlier.length)).toEqual([
    expect.stringMatching(
      /^user: A person says about this run:\nAnd well\.\n\nThe work continues here[^\n]*\n\nA person says about this run:\nGo slow\.$/,
    ),
  ])
})

test('messages of the new run count from its own beginning', () => {
  const now = fold([created(), said('More.')], fold([...first, said('And well.')]))
  expect(allMessages(now)).toBe(1)
  const answered = converse(now, reply('Yes.', [], { user_messages: 1 }))
  expect([allMessages(answered), answered.inbox]).toEqual([1, []])
  expect(sent(answered).join('\n')).toMatch(/And well\.[\s\S]*More\.[\s\S]*Yes\./)
})

test('words and limits of the other run are not those of the new one', () => {
  const before = fold([...first, reply('Done.'), record('llm_retry', { context_tokens: 9 })])
  const of = (one: typeof before) => [lastWords(one), one.contextTokens]
  expect(of(before)).toEqual(['Done.', 9])
  const now = fold([created()], before)
  expect([...of(now), now.tools]).toEqual([null, null, []])
  expect(lastWords(converse(now, reply('Done here.')))).toBe('Done here.')
})

test('the model reads that the project is in another folder, also before its first reply', () => {
  const moved = { config: { ...config, cwd: '/copy' }, instructions: 'Look.' }
  const told = sent(fold([created(moved)], fold(first))).join('\n')
  expect(told).toContain('The project is now the folder /copy.')
  const [, opening] = sent(fold([created(moved)], fold([created()])))
  expect(opening).toContain('in the project at /p.')
  expect(opening).toContain('The project is now the folder /copy.')
  expect(opening).toContain('A person says about this run:\nLook.')
})

test('the model reads how many files others have changed, and which of them come first', () => {
  const files = [{ path: 'a.txt', change: 'modified' }]
  const now = fold(
    [created(), record('snapshot', { since_origin: { count: 3, files } })],
    fold(first),
  )
  expect(sent(now).at(-1)).toMatch(/is out of date:\nmodified: a\.txt\n… and 2 more$/)
})

test('the model reads which files a person has rolled back', () => {
  const files = [{ path: 'a.txt', action: 'delete' }]
  const before = fold(first)
  const told = fold([record('files_rolled_back', { count: 2, files })], before)
  expect(sent(told).at(-1)).toMatch(/is out of date:\ndelete: a\.txt\n… and 1 more$/)
  expect(fold([record('files_rolled_back', { count: 0, files: [] })], before)?.turns).toBe(
    before?.turns,
  )
})
