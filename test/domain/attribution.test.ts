import { describe, expect, test } from 'vitest'
import type { RunCommand } from '../../src/domain/commands.ts'
import { check, claim, create, given, reply } from './support.ts'

const hashOf = (digit: string): string => digit.repeat(64)
const waiting = [create({ hitl_enabled: true }), claim(), reply(), check(false)]
const open = given(...waiting).state?.seq ?? -1

const approve = { type: 'respond', decision: 'approve', reason: 'go on', answers: null } as const
const abort = { type: 'abort', reason: 'enough' } as const
const configure = { type: 'configure', changes: { max_iterations: 9 } } as const

describe('the record of a command of a person', () => {
  test('run_created holds the reason, if the person gave one', () => {
    const why = { ...create(), reason: 'The nightly build is red' } as RunCommand
    const [told] = given().when(why).gives('0 run_created')
    expect(told?.payload).toMatchObject({ reason: 'The nightly build is red' })
    const [untold] = given().when(create()).gives('0 run_created')
    expect(untold?.payload).not.toHaveProperty('reason')
  })

  test('a decision holds the hash of the question that it answers', () => {
    const hashes = new Map([[open, hashOf('a')]])
    const [answer] = given(...waiting)
      .when(approve, 9, { hashes })
      .gives('1 human_check_response')
    expect(answer?.payload).toEqual({
      decision: 'approve',
      reason: 'go on',
      answers: open,
      shown_sha256: hashOf('a'),
    })
  })
})

describe('the record that a person reports as seen', () => {
  const seen = { seq: 2, hash: hashOf('b') }
  const hashes = new Map([
    [2, hashOf('b')],
    [open, hashOf('a')],
  ])
  const commands = [approve, abort, configure].map((command) => ({ ...command, seen }))

  test.each(commands)('is stored with $type', (command) => {
    const run = given(...waiting)
    const kind = {
      respond: 'human_check_response',
      abort: 'run_end',
      configure: 'run_config_changed',
    }
    const [record] = run
      .when(command, 9, { hashes })
      .gives(`1 ${kind[command.type]}${command.type === 'abort' ? ' aborted' : ''}`)
    expect(record?.payload).toMatchObject({ seen })
  })

  test.each(commands)('must be in the log, or $type is refused', (command) => {
    const otherwise = { type: 'seen_otherwise', seq: 2 } as const
    const run = given(...waiting)
    run.when(command, 9, { hashes: new Map([...hashes, [2, hashOf('c')]]) }).refused(otherwise)
    run.when(command, 9, { hashes: new Map([[open, hashOf('a')]]) }).refused(otherwise)
  })
})
