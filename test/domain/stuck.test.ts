import { describe, expect, test } from 'vitest'
import type { PayloadOf } from '../../src/domain/records.ts'
import { check, claim, create, given, reply, result, type Step, say, working } from './support.ts'

type Result = Partial<PayloadOf<'tool_result'>>

/** A reply with one call, and the result of the call. */
function turn(
  args: PayloadOf<'tool_call'>['args'] = {},
  found: Result = {},
  tool = 'bash_exec',
): Step[] {
  const tool_calls = [{ call_id: 'c0', tool, args }]
  return [replied({ tool_calls }), result('c0', tool, 'done', 'ok', found)]
}

const replied = (message: Partial<PayloadOf<'assistant_message'>>) => reply([], 1, 0, message)

const times = (n: number, steps: (at: number) => Step[]): Step[] =>
  Array.from({ length: n }, (_, at) => steps(at)).flat()

const FAILED = { outcome: 'error', exit_code: 1 } as const
const LONG = { max_turns_per_iteration: 100 }
const HINT = 'repeating 2 hint'
const ASKED = 'repeating 4 reflection'

/** What was found of a run of these steps, in its order. */
function found(...steps: Step[]): string[] {
  return given(...working(LONG), ...steps).records.flatMap(({ kind, payload }) =>
    kind === 'agent_stuck' ? [`${payload.pattern} ${payload.times} ${payload.action}`] : [],
  )
}

describe('the same call with the same result', () => {
  test('gives the model a hint the third time, and asks it for another approach the fifth time', () => {
    expect(found(...times(2, () => turn()))).toEqual([])
    expect(found(...times(4, () => turn()))).toEqual([HINT])
    expect(found(...times(5, () => turn()))).toEqual([HINT, ASKED])
  })

  test('ends the run if the model repeats itself after that, once the goal was checked', () => {
    const [call, last] = turn() as [Step, Step]
    const stuck = [...working(LONG), ...times(9, () => turn()), call]
    const reason = expect.stringMatching(/makes no progress: the last 4 turns .* asked/)
    given(...stuck).each([last, '1 tool_result c0 ok, agent_stuck, step_start evaluate'])
    given(...stuck, last).each(
      [check(false), '1 goal_check, iteration_complete, run_ending', { reason }],
      [check(true), '1 goal_check, iteration_complete, run_end achieved'],
    )
  })

  test('is counted from the beginning after another result, another call, or a message of a person', () => {
    const line = (at: number) => `line ${'x'.repeat(at >> 1)}`
    expect(found(...times(9, (at) => turn({}, { output: line(at) })))).toEqual([])
    expect(found(...times(9, (at) => turn({ command: `test ${at >> 1}` })))).toEqual([])
    expect(found(...times(4, () => [...turn(), ...turn(), say('Look at the log.')]))).toEqual([])
  })

  test('may be repeated more often if the model waits for something', () => {
    const poll = () => turn({ command: 'sleep 5; tail log' }, { duration_ms: 5_000 })
    expect(found(...times(16, poll))).toEqual([HINT])
    expect(found(...times(17, poll))).toEqual([HINT, 'repeating 16 reflection'])
  })

  test('is forgotten after 17 good turns', () => {
    const good = (n: number) =>
      times(n, (at) => turn({ command: `step ${at}` }, { output: 'x'.repeat(at) }))
    const again = times(5, () => turn())
    expect(found(...again, ...good(17), ...again)).toEqual([HINT, ASKED, HINT, ASKED])
    expect(found(...again, ...good(10), ...again)).toEqual([HINT, ASKED, HINT, 'repeating 4 end'])
  })
})

test('a model whose calls only fail in the same way is asked for another approach', () => {
  const fail = (at: number) => turn({ command: `try ${at}` }, FAILED)
  expect(found(...times(40, fail))).toEqual([])
  expect(found(...times(82, fail))).toEqual(['barren 40 reflection', 'barren 40 end'])
  expect(found(...times(39, fail), ...turn(), ...times(39, fail))).toEqual([])
})

describe('a loop is seen', () => {
  const at = (n: number, make: (at: number) => Step[]) =>
    expect(found(...times(n, make))).toEqual([HINT])

  test('of two turns, of three, and of four', () => {
    const around = (of: number) => (n: number) =>
      turn({ command: `cat ${'abcd'.charAt(n % of)}` }, { output: 'abcd'.charAt(n % of) })
    for (const of of [2, 3, 4]) at(of + 2, around(of))
  })

  test('whatever times, durations, numbers and colours are printed', () => {
    const tests = (output: string, duration_ms = 1) =>
      turn({ command: 'npm test' }, { output, duration_ms })
    const printed = (n: number) =>
      `\x1b[3${n % 8}m${n} failed\x1b[0m at 12:0${n % 10}:01 in ${n % 2 ? '1.2s' : '980ms'}`
    at(3, (n) => tests(printed(n)))
    at(3, (n) => tests(`3 failed at 12:0${n}:01 in 1${n}.2s`, 9_000))
  })

  test('whatever the comment of a command says', () => {
    const command = (n: number) => `# attempt ${n}\nnpm test  # again: ${'x'.repeat(n)}`
    at(3, (n) => turn({ command: command(n) }))
  })
})

test.each<[work: string, count: number, (n: number) => Step[]]>([
  [
    'a command edits and then runs a test that fails',
    20,
    (n) => turn({ command: `sed -i s/${n}/x/ a.py && pytest` }, { output: '1 failed', ...FAILED }),
  ],
  [
    'a test follows each of several different edits',
    9,
    (n) => [
      ...turn({ path: 'a', content: `${n}` }, {}, 'file_write'),
      ...turn({ command: 'npm test' }, FAILED),
    ],
  ],
  [
    'something that takes long counts up',
    45,
    (n) => {
      const output = `epoch ${n} of 500 after ${n}s`
      return turn({ id: 'p1' }, { output, duration_ms: 30_000 }, 'process_read')
    },
  ],
  [
    'many files are read',
    60,
    (n) => turn({ path: `f${n}` }, { output: 'x'.repeat(n) }, 'file_read'),
  ],
])('progress is no loop: %s', (_, count, work) => {
  expect(found(...times(count, work))).toEqual([])
})

test('a model that only talks is asked, and then its run ends', () => {
  const idle = () => [replied({})]
  const state = given(...working({ ...LONG, max_iterations: 20 }), ...times(10, idle)).state
  expect(state?.phase).toMatchObject({ type: 'ending' })
  expect(state?.iteration).toBe(10)
})

describe('replies that are not whole', () => {
  const BROKEN = { length: 'cut', empty: 'empty', malformed: 'malformed' } as const

  test.each(Object.entries(BROKEN))('%s: the fifth in a row ends the run', (reason, pattern) => {
    const broken = () => [replied({ finish_reason: reason, notice: 'It was not whole.' })]
    expect(found(...times(4, broken), ...turn(), ...times(4, broken))).toEqual([])
    const { state, records } = given(...working(LONG), ...times(5, broken))
    expect(records.filter(({ kind }) => kind === 'iteration_complete')).toHaveLength(1)
    expect(state?.watch.found).toEqual({ pattern, times: 5, action: 'end' })
    expect(state?.phase.type).toBe('ending')
  })

  test('do not reset the counts of the work', () => {
    const empty = replied({ finish_reason: 'empty', notice: 'It was empty.' })
    expect(found(...turn(), ...turn(), empty, ...turn())).toEqual([HINT])
  })

  test('include replies whose calls are all rejected', () => {
    const bad = (at: number) => turn({ at }, { outcome: 'rejected', exit_code: null })
    expect(found(...times(5, bad))).toEqual(['malformed 5 end'])
  })
})

test('a run of an earlier version is not stopped', () => {
  const steps = [
    create({ max_iterations: 9 }),
    claim(),
    ...times(8, () => [replied({}), check(false)]),
  ]
  expect(given(...steps).records.filter(({ kind }) => kind === 'agent_stuck')).toEqual([])
})
