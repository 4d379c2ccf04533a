import { SampleRun } from './sample-run.ts'
import { configOf } from './seed.ts'

/** A run of at least so many records that has not ended well. */
export function longRun(runId: string, records: number, startedAt: number): SampleRun {
  const config = configOf({ max_iterations: records, cwd: '/home/ada/monolith' })
  const sample = new SampleRun(runId, config, startedAt)
  for (let n = 1; sample.records.length < records; n += 1) {
    const left = Math.max(1, 400 - Math.floor(n / 6))
    sample.iterate({
      text: `Attempt ${n}: I look at \`module_${n % 90}.py\` and fix what its test complains of.`,
      calls: [
        {
          tool: 'file_read',
          args: { path: `app/module_${n % 90}.py` },
          output: `def f():\n    return ${n}\n`,
        },
        {
          tool: 'file_patch',
          args: { path: `app/module_${n % 90}.py`, old: `return ${n}`, new: `return ${n + 1}` },
          output: `Replaced the text at line 2 of app/module_${n % 90}.py.`,
        },
        {
          tool: 'bash_exec',
          args: { command: `make test-${n}` },
          output: `ok ${n}\n`.repeat(1 + (n % 30)),
        },
      ],
      check: { achieved: false, reason: `${left} of 400 tests failing: test_${n}` },
    })
  }
  return sample.abort('It goes round in circles')
}
