import { type CommandResult, overLimit } from '../../runner/command.ts'
import type { ToolOutput } from './tool.ts'

/** Kept of a command's output for its artifact. */
export const WHOLE_OUTPUT_BYTES = 8 * 1024 * 1024

const withNote = (output: string, note: string): string =>
  `${output}${output === '' || output.endsWith('\n') ? '' : '\n'}[${note}]`

/** A command's end as the result of the tool that ran it. */
export function commandOutput(result: CommandResult, timeoutMs: number): ToolOutput {
  const { end, exitCode, output } = result
  switch (end) {
    case 'exited':
      return { output, exitCode, outcome: exitCode === 0 ? 'ok' : 'error' }
    case 'timed_out': {
      const note = `stopped at its time limit of ${timeoutMs / 1000} s, with all its processes`
      return { output: withNote(output, note), exitCode, outcome: 'timed_out' }
    }
    case 'out_of_memory':
    case 'too_much_output': {
      const note = `stopped because it ${overLimit(result)}, with all its processes`
      return { output: withNote(output, note), exitCode, outcome: 'error' }
    }
    case 'aborted': {
      const note = 'stopped with the run, with all its processes'
      return { output: withNote(output, note), exitCode, outcome: 'aborted' }
    }
    case 'not_found':
    case 'not_started':
      return { output, exitCode, outcome: 'error' }
  }
}
