module cloudedge.test/tools/pause

go 1.26
