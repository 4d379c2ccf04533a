import { access, constants } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { commandOutput, WHOLE_OUTPUT_BYTES } from './command-output.ts'
import { defineTool } from './define-tool.ts'

const TIMEOUT_MS = 600_000
const VIRTUAL_ENVIRONMENTS = ['.venv', 'venv']

/** The Python of the project's own virtual environment, else the one on the PATH. */
async function pythonOf(cwd: string): Promise<string> {
  for (const folder of VIRTUAL_ENVIRONMENTS) {
    const python = join(cwd, folder, 'bin', 'python')
    const runs = await access(python, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (runs) return python
  }
  return 'python3'
}

export const runPytest = defineTool({
  name: 'run_pytest',
  description:
    "Run pytest in the project's folder and get its report. Uses the project's .venv or venv where " +
    'there is one.',
  readOnly: false,
  args: z.strictObject({
    args: z
      .array(z.string().refine((text) => !text.includes('\0'), 'has a NUL character in it'))
      .max(100)
      .optional()
      .describe('Arguments of pytest, one an item, such as ["-x", "tests/test_cart.py"]'),
  }),
  run: async ({ args = [] }, { cwd, signal, runCommand }) => {
    const result = await runCommand({
      file: await pythonOf(cwd),
      args: ['-m', 'pytest', '--color=no', ...args],
      cwd,
      timeoutMs: TIMEOUT_MS,
      maxBytes: WHOLE_OUTPUT_BYTES,
      signal,
    })
    return commandOutput(result, TIMEOUT_MS)
  },
})
