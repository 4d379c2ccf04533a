import * as z from 'zod'
import { commandOutput, WHOLE_OUTPUT_BYTES } from './command-output.ts'
import { defineTool } from './define-tool.ts'

const DEFAULT_TIMEOUT_S = 120
const MAX_TIMEOUT_S = 3600

export const bashExec = defineTool({
  name: 'bash_exec',
  description:
    "Run a command with bash in the project's folder and get its output (stdout and stderr) and exit " +
    'code. Each call is a new shell without a terminal or input. Processes left in the background end ' +
    'with the call.',
  readOnly: false,
  args: z.strictObject({
    command: z
      .string()
      .min(1)
      .refine((text) => !text.includes('\0'), 'has a NUL character in it')
      .describe('The command line, as bash takes it'),
    timeout_s: z
      .number()
      .positive()
      .max(MAX_TIMEOUT_S)
      .optional()
      .describe(`Seconds until it is stopped; ${DEFAULT_TIMEOUT_S} where left out`),
  }),
  run: async ({ command, timeout_s = DEFAULT_TIMEOUT_S }, { cwd, signal, runCommand }) => {
    const timeoutMs = timeout_s * 1000
    const result = await runCommand({
      file: 'bash',
      args: ['-c', command],
      cwd,
      timeoutMs,
      maxBytes: WHOLE_OUTPUT_BYTES,
      signal,
    })
    return commandOutput(result, timeoutMs)
  },
})
