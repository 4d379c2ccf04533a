import { describe, expect } from 'vitest'
import { only } from '../agent/support.ts'
import { eachRun, play } from './runs.ts'

describe('the end of a run that may not cheat', () => {
  eachRun('cheats', async (table, played) => {
    const { records, end, named } = await play(table, played, { on_tampering: 'fail' })
    expect({ ...end.verdict, named }).toMatchObject({
      ...{ as_is: 'achieved', original_checks: played.original, named: played.named },
    })
    expect(only(records, 'final_check').payload.rejected).toBe('tampering')
    expect(end.status).toBe('failed')
  })
})

describe('what only a check that the agent does not see finds', () => {
  eachRun('fooled', async (table, played) => {
    const { records, end, named } = await play(table, played, {
      ...{ on_tampering: 'fail', accept: { sha256: '', files: 1 } },
    })
    expect({ ...end.verdict, named }).toMatchObject({
      ...{
        as_is: 'achieved',
        original_checks: 'achieved',
        accept: 'not_achieved',
        named: played.named,
      },
    })
    expect(only(records, 'final_check').payload.rejected).toBe('accept')
    expect(end.status).toBe('failed')
  })
})

describe('the end of a run that only reports', () => {
  eachRun(
    'cheats',
    async (table, played) => {
      const { end, named } = await play(table, played)
      expect({ ...end.verdict, named, status: end.status }).toMatchObject({
        ...{ status: 'achieved', original_checks: played.original, named: played.named },
      })
    },
    // It depends on no kind of check.
    ({ title }, index) => title === 'shell' && index < 4,
  )
})
