import type { TestProject } from 'vitest/node'
import { buildConsole, buildProgram } from './build.ts'
import { findMissing } from './missing.ts'

/** Before all tests: finds out what the machine lacks, and builds the program and the console that the tests start. */
export default async function setup({ provide }: TestProject): Promise<void> {
  const missing = findMissing()
  provide('missing', missing)
  // The environment, not `provide`: the processes of the tests are started by code that also runs without Vitest.
  process.env.RETRAI_TEST_PROGRAM = await buildProgram()
  if (!missing.includes('chromium')) await buildConsole()
}
