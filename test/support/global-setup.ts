import { execFileSync } from 'node:child_process'
import { delimiter, dirname } from 'node:path'
import type { TestProject } from 'vitest/node'
import { buildConsole, buildProgram, COMPILE_CACHE } from './build.ts'
import { findMissing } from './missing.ts'

/** Before all tests: finds out which tools are missing, and builds the program and the console that the tests start. */
export default async function setup({ provide }: TestProject): Promise<void> {
  process.env.PATH = pathWithoutShims(process.env.PATH ?? '')
  process.env.NODE_COMPILE_CACHE = COMPILE_CACHE
  const missing = findMissing()
  provide('missing', missing)
  // Not `provide`: code that starts the program also runs without Vitest.
  process.env.RETRAI_TEST_PROGRAM = await buildProgram()
  if (!missing.includes('chromium')) await buildConsole()
}

/** A shim of pyenv starts dozens of shells before each program, so the tests use the programs themselves. */
function pathWithoutShims(path: string): string {
  const folders = path.split(delimiter)
  const isShims = (folder: string): boolean => folder.endsWith('pyenv/shims')
  if (!folders.some(isShims)) return path
  try {
    const python = execFileSync('pyenv', ['which', 'python3'], { encoding: 'utf8' }).trim()
    return folders.map((folder) => (isShims(folder) ? dirname(python) : folder)).join(delimiter)
  } catch {
    return path
  }
}
