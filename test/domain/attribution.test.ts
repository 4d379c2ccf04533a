import { describe, expect, test } from 'vitest'
import type { RunCommand } from '../../src/domain/commands.ts'
import { abort, check, claim, configure, create, given, reply, respond } from './support.ts'

const hashOf = (digit: string): string => digit.repeat(64)
const waiting = [create({ hitl_enabled: true }), claim(), reply(), check(false)]
const open = given(...waiting).state?.seq ?? -1

const approve = respond('approve')

describe('the record of a command of a person', () => {
  test('run_created holds the reason, if the person gave one', () => {
    const why = { ...create(), reason: 'The nightly build is red' } as RunCommand
    given().each([why, '0 run_created', { reason: 'The nightly build is red' }])
    expect(given(create()).records[0]?.payload).not.toHaveProperty('reason')
  })

  test('a decision holds the hash of the question that it answers', () => {
    const fromLog = { hashes: new Map([[open, hashOf('a')]]) }
    const answer = { decision: 'approve', answers: open, shown_sha256: hashOf('a') }
    given(...waiting).each([{ command: approve, fromLog }, '1 human_check_response', answer])
  })
})

describe('the record that a person reports as seen', () => {
  const seen = { seq: 2, hash: hashOf('b') }
  const hashes = new Map([
    [2, hashOf('b')],
    [open, hashOf('a')],
  ])
  const commands = [
    ['1 human_check_response', { ...approve, seen }],
    ['1 run_end aborted', { ...abort, seen }],
    ['1 run_config_changed', { ...configure({ max_iterations: 9 }), seen }],
  ] as const

  test.each(commands)('is stored in %s, and must be in the log', (record, command) => {
    const otherwise = { type: 'seen_otherwise', seq: 2 }
    const other = new Map([...hashes, [2, hashOf('c')]])
    given(...waiting).each(
      [{ command, fromLog: { hashes } }, record, { seen }],
      [{ command, fromLog: { hashes: other } }, otherwise],
      [{ command, fromLog: { hashes: new Map([[open, hashOf('a')]]) } }, otherwise],
    )
  })
})
