import { useEffect } from 'react'
import { useDue } from '../api/use-due.ts'
import { formatUpTo100 } from './format.ts'

/** The title of a page, after the number of decisions that are due. */
export function useTitle(title: string): void {
  const { length } = useDue()
  useEffect(() => {
    const due = length === 0 ? '' : `(${formatUpTo100(length)}) `
    document.title = `${due}${title === '' ? 'retrAI' : `${title} · retrAI`}`
  }, [title, length])
}
