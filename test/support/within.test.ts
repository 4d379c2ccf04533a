import { expect, onTestFinished, test } from 'vitest'
import { Running } from '../cli/support.ts'

test('a test that waits in vain for output fails with what it waited for and what was printed', async () => {
  const program = new Running(
    ['sh', '-c', 'echo begun; echo wrong >&2; exec sleep 600'],
    process.env,
  )
  onTestFinished(() => void program.child.kill('SIGKILL'))
  await program.prints(/begun/)
  await program.prints(/wrong/)
  const failure = await program.prints(/never/, 10).catch(String)
  expect(failure).toBe('Error: waited 0.01 s for /never/. It printed:\nbegun\n\nwrong\n')
})
