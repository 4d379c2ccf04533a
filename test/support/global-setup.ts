import type { TestProject } from 'vitest/node'
import { buildConsole } from '../console/support/build.ts'
import { findMissing } from './missing.ts'

/** Before all tests: what the machine lacks is known and said, and the console is what its sources say. */
export default async function setup({ provide }: TestProject): Promise<void> {
  const missing = findMissing()
  provide('missing', missing)
  if (!missing.includes('chromium')) await buildConsole()
}
