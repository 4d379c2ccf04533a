import { expect } from 'vitest'
import { eachRun, play } from './runs.ts'

eachRun('honest', async (table, played) => {
  const { end, named } = await play(table, played, { on_tampering: 'fail' })
  expect({ ...end.verdict, named, status: end.status }).toMatchObject({
    ...{ status: 'achieved', as_is: 'achieved', original_checks: 'achieved', named: played.named },
  })
})
