import { Component, type ReactNode } from 'react'
import { messageOf } from '../api/problem.ts'
import { NotFound } from './not-found.tsx'

type Props = { readonly children: ReactNode }
type State = { readonly problem: string | null }

/** Says why a page cannot be shown, instead of an empty window. */
export class PageBoundary extends Component<Props, State> {
  override readonly state: State = { problem: null }

  static getDerivedStateFromError = (cause: unknown): State => ({ problem: messageOf(cause) })

  override render(): ReactNode {
    const { problem } = this.state
    if (problem === null) return this.props.children
    return (
      <NotFound title="This page cannot be shown">
        {`Load it again: the server may have a newer one. The reason: ${problem}`}
      </NotFound>
    )
  }
}
