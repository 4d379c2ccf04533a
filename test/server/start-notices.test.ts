import { expect, test, vi } from 'vitest'
import { warnOfProcess1, warnOfUnknownSettings } from '../../src/server/start-notices.ts'

test('a server that is process 1 warns that nobody collects dead processes, and says what to do', () => {
  const warn = vi.fn()
  warnOfProcess1(2, { warn })
  expect(warn).not.toHaveBeenCalled()
  warnOfProcess1(1, { warn })
  expect(warn).toHaveBeenCalledWith(expect.stringMatching(/such as tini, or .*docker run --init/))
})

test('variables whose names look like settings are named, unless they are settings or for commands', () => {
  const warn = vi.fn()
  const settings = { RETRAI_COMMAND_ENV: ['RETRAI_OF_A_PROJECT'] }
  const known = {
    RETRAI_LISTEN: '[::1]:0',
    RETRAI_SERVER: 'http://localhost',
    RETRAI_OF_A_PROJECT: '1',
  }
  warnOfUnknownSettings(settings, { warn }, { ...known, HOME: '/' })
  expect(warn).not.toHaveBeenCalled()
  warnOfUnknownSettings(settings, { warn }, { ...known, RETRAI_MAX_COST: '5' })
  expect(warn.mock.calls).toEqual([
    [{ unknown: ['RETRAI_MAX_COST'] }, expect.stringContaining('"retrai serve --help"')],
  ])
})
