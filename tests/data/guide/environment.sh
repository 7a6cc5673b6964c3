# Main agent sets environment for Haiku agents
export TASK_ID="task-123"
export ISSUE_NUMBER="123"
export WORKTREE_PATH="worktrees/task-123"
export BRANCH_NAME="feature/task-123"
export PROJECT_TYPE="react-typescript"
export TEST_COMMAND="npm test"
export LINT_COMMAND="npm run lint"
export MAIN_BRANCH="main"
