import { expect, test } from 'vitest'
import { guardSecrets } from '../../src/masking/process-mask.ts'
import { FAKES } from '../masking/fakes.ts'
import { check, project } from './support.ts'

const OWN = 'q8Zr-own-key-of-the-server'
guardSecrets([{ name: 'OPENAI_API_KEY', value: OWN }])
const [token = ''] = FAKES['github-token'] ?? []

/** Less than this many characters of a secret may be left. */
function expectNothingOf(secret: string, text: string): void {
  for (let at = 0; at + 8 <= secret.length; at += 1) {
    expect(text).not.toContain(secret.slice(at, at + 8))
  }
}

test.each([token, OWN])(
  'a verdict that is cut within a secret shows no part of it: %s',
  async (secret) => {
    for (const length of [4_060, 4_075, 4_085]) {
      const cwd = await project({
        out: `x ${secret} ${'y'.repeat(length)}\n${'z '.repeat(90)}${secret} end`,
      })
      const shellGoal = {
        check_command: 'cat out; false',
        success_condition: { exit_code: 0 },
      }
      const verdict = await check('shell-goal', cwd, { shellGoal })
      expect(verdict.verdict).toBe('not_achieved')
      expectNothingOf(secret, JSON.stringify(verdict))
    }
  },
)
