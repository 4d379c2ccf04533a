import fc from 'fast-check'
import { describe, test } from 'vitest'
import { lastLine, oneLine, tail } from '../src/checks/goal.ts'
import { missingProgram, NOT_FOUND_LIMIT } from '../src/checks/shell-goal.ts'
import { isTestRule } from '../src/checks/tools.ts'
import { cursorOf } from '../src/client/call.ts'
import { stripTerminalCodes, unended } from '../src/domain/texts.ts'
import { RULES } from '../src/masking/known-shapes.ts'
import { createMask } from '../src/masking/mask.ts'
import { readProblem } from '../src/models/failures.ts'
import { clientMessageOf } from '../src/store/eventstoredb/calls.ts'
import { scrubber } from '../src/store/eventstoredb/connection-string.ts'
import { readPrinted } from '../src/workspace/program/printed.ts'
import { distanceOf } from '../web/src/run/verdict.ts'
import { baseName } from '../web/src/ui/format.ts'
import { expectLinearTime, hostileTexts } from './support/linear-time.ts'

const KIB = 1024
const COMMON = [
  '1',
  'a',
  ' ',
  '\n',
  '\r\n',
  '.',
  '/',
  ':',
  '(',
  ')',
  '\x1b',
  '\x1b]',
  '\x1b[1',
  '\t',
]

/** What each reader knows, so that texts lead it into all of its branches. */
const PRINTED = [
  'Tests: ',
  '1 total',
  'Tests  ',
  '(1)',
  ' › ',
  '  ● ',
  ' FAIL  ',
  ' > ',
  '✖ ',
  '1ms)',
  'ℹ pass ',
  '# pass ',
  'not ok 1 - ',
  '\n  ---\n',
  "failureType: 'subtestsFailed'",
  '# TODO',
  '(fail) ',
  ' [1',
  '=',
  '1 passed',
  ' in 1',
  's',
  'FAILED ',
  'test ',
  ' ... FAILED',
  'test result: ok. ',
  ' passing',
  '--- FAIL: ',
  'error: ',
  '[E1]: ',
  '\n --> ',
  'a.c:1:1: ',
  ' lint ━',
  '\n  × ',
  '1:1  error  ',
  'TypeError: ',
  '\n    at (/a:1:1)',
  'Node.js v',
]
const SECRETS = [
  ...RULES.flatMap(({ starts }) => starts),
  '-----BEGIN ',
  'PRIVATE KEY-----\n',
  '-----END ',
  'own secret',
  '@',
  '_',
  '-',
  'sk-ant-',
  'bearer ',
]
const mask = createMask([{ name: 'OWN', value: 'own secret' }])
const inPieces = (text: string): void => {
  const pieces = mask.pieces()
  for (let at = 0; at < text.length; at += 4 * KIB) pieces.write(text.slice(at, at + 4 * KIB))
  pieces.end()
}

const hasTestRule = (text: string) => text.split('\n').some(isTestRule)
const nextOf = (text: string) => cursorOf(text, 'cursor')
const grpcMessageOf = (text: string) => clientMessageOf(new Error(text))

describe('the time to read any foreign text grows no faster than its length', () => {
  const readers: [string, (text: string) => unknown, number, readonly string[]][] = [
    ['what tools print', readPrinted, 128 * KIB, PRINTED],
    ['a program that is not found', missingProgram, NOT_FOUND_LIMIT, [': not found', 'not found']],
    ['the rules of a Makefile', hasTestRule, 256 * KIB, ['test', ':=']],
    ['one line', (text) => oneLine(text, text.length), 256 * KIB, []],
    ['the last line', (text) => lastLine(text), 256 * KIB, []],
    ['the end of a sentence', unended, 64 * KIB, []],
    ['a tail', (text) => tail(text, text.length), 256 * KIB, []],
    ['codes of terminals', stripTerminalCodes, 256 * KIB, ['\x1b\\', '\x9b', '\x9d', '\x07', ';']],
    ['masking', mask.text, 64 * KIB, SECRETS],
    ['masking in pieces', inPieces, 64 * KIB, SECRETS],
    ['an error of a model', readProblem, 256 * KIB, ['""', '{}']],
    ['a Link header', nextOf, 64 * KIB, ['<', '>', '?', '; rel="next"']],
    ['an error of gRPC', grpcMessageOf, 256 * KIB, ['Resolution note:']],
    ['a password in an error', scrubber('esdb://h'), 64 * KIB, ['://', '@']],
    ['the name of a file', baseName, 64 * KIB, []],
    ['a verdict', (reason) => distanceOf({ achieved: false, reason }), 64 * KIB, ['1 of 1 test']],
  ]
  test.each(readers)(
    '%s',
    (_, read, limit, words) => {
      fc.assert(
        fc.property(hostileTexts([...COMMON, ...words]), (textOf) => {
          expectLinearTime(read, textOf, limit)
        }),
        { numRuns: 30, endOnFailure: true },
      )
    },
    120_000,
  )
})
