import { expect, test, vi } from 'vitest'
import { warnOfProcess1 } from '../../src/server/start-notices.ts'

test('a server that is process 1 warns that nobody collects dead processes, and says what to do', () => {
  const warn = vi.fn()
  warnOfProcess1(2, { warn })
  expect(warn).not.toHaveBeenCalled()
  warnOfProcess1(1, { warn })
  expect(warn).toHaveBeenCalledWith(expect.stringMatching(/such as tini, or .*docker run --init/))
})
