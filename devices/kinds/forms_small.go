//go:build small

package kinds

// forms.txt is as long as all that is otherwise known, and a router has little room.
const forms = ""
