import type { TestProject } from 'vitest/node'
import { buildConsole, buildProgram } from './build.ts'
import { findMissing } from './missing.ts'

/** Before all tests: finds out which tools are missing, and builds the program and the console that the tests start. */
export default async function setup({ provide }: TestProject): Promise<void> {
  const missing = findMissing()
  provide('missing', missing)
  // Not `provide`: code that starts the program also runs without Vitest.
  process.env.RETRAI_TEST_PROGRAM = await buildProgram()
  if (!missing.includes('chromium')) await buildConsole()
}
